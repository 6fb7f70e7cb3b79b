"""The data that a configuration names, found and hashed without torch: what names a record, and what a run trains on."""

from collections.abc import Callable, Mapping
from typing import Any

from kadam.lab.data.images import configured_images
from kadam.lab.data.sources import Described, Together, configured_text, together
from kadam.lab.data.text import Corpus, load_corpora


def configured_sets(config: Any, *, fetch: bool = True) -> Together:
    """Text and images of ``config.sizes`` under one name and hash. Nothing is decoded."""
    return together(configured_text(config.sizes, fetch=fetch), configured_images(config.sizes, fetch=fetch))


def configured_corpora(config: Any, *, fetch: bool = True) -> dict[str, Corpus]:
    """The corpora of ``config.settings``, each once: at most ``config.train`` tokens of each to learn from."""
    return load_corpora((s.corpus for s in config.settings), text=config.text, fetch=fetch, limit=config.train)


# What ``DATA`` in an experiment's ``config`` may say.
KINDS: Mapping[str, Callable[..., Described]] = {
    "text": configured_text,
    "images": configured_images,
    "text and images": configured_sets,
    "corpora": lambda config, *, fetch: together(*configured_corpora(config, fetch=fetch).values()),
}


def configured(kind: str, config: Any, *, fetch: bool = True) -> Described:
    """The data of a configuration under one name and hash; ``fetch``: may download it."""
    return KINDS[kind](config, fetch=fetch)
