"""The same book by Sphinx alone: ``sphinx-build -W -n --keep-going book _build/sphinx``, or ``make sphinx-book``.

Jupyter Book 1.x gets no new features any more. ``_config.yml`` and ``_toc.yml`` stay the source: this file says in Sphinx's
words what Jupyter Book makes of their keys, and refuses one that it does not know. Jupyter Book itself never reads it.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

# What Jupyter Book sets by itself and Sphinx would not.
ALWAYS = {
    "extensions": [
        "sphinx_togglebutton",
        "sphinx_copybutton",
        "myst_nb",
        "sphinx_external_toc",
        "sphinx.ext.intersphinx",
        "sphinx_design",
        "sphinx_book_theme",
        "sphinxcontrib.bibtex",
        "sphinx_multitoc_numbering",
    ],
    "exclude_patterns": ["**.ipynb_checkpoints", ".DS_Store", "Thumbs.db", "_build"],
    "external_toc_path": "_toc.yml",
    "html_css_files": ["custom.css"],
    "html_sourcelink_suffix": "",
    "html_static_path": ["_static"],
    "html_theme": "sphinx_book_theme",
    "myst_url_schemes": ["mailto", "http", "https"],
    "pygments_style": "sphinx",
}
THEME = {"search_bar_text": "Search this book...", "home_page_in_toc": True, "path_to_docs": "", "repository_branch": "master"}

# A key of _config.yml, by its section, and what it is called in Sphinx.
SETTINGS = {
    "title": "html_title",
    "author": "author",
    "copyright": "copyright",
    "logo": "html_logo",
    "only_build_toc_files": "external_toc_exclude_missing",
    "bibtex_bibfiles": "bibtex_bibfiles",
    "execute.execute_notebooks": "nb_execution_mode",
    "execute.stderr_output": "nb_output_stderr",
    "html.baseurl": "html_baseurl",
    "html.favicon": "html_favicon",
    "html.use_multitoc_numbering": None,  # an extension, which is loaded
    "parse.myst_enable_extensions": "myst_enable_extensions",
}
THEMES_SETTINGS = {
    "html.use_edit_page_button": "use_edit_page_button",
    "html.use_issues_button": "use_issues_button",
    "html.use_repository_button": "use_repository_button",
    "repository.url": "repository_url",
}


def settings(book: dict) -> dict:
    """Sphinx's settings for those of a Jupyter Book; ``KeyError`` for one that this file does not know."""
    own = book.pop("sphinx")
    theme = THEME | {"launch_buttons": book.pop("launch_buttons")}
    found = {**ALWAYS, "html_theme_options": theme}
    for key, value in flat(book):
        if key in THEMES_SETTINGS:
            theme[THEMES_SETTINGS[key]] = value
        elif name := SETTINGS[key]:
            found[name] = value
    found["extensions"] = [*ALWAYS["extensions"], *own["extra_extensions"], *own["local_extensions"]]
    sys.path += [str(ROOT / folder) for folder in set(own["local_extensions"].values())]
    return found | own["config"]


def flat(book: dict) -> list:
    """Every setting by its key, with its section where it has one."""
    sections = [(name, value if isinstance(value, dict) else {"": value}) for name, value in book.items()]
    return [(f"{name}.{key}".strip("."), value) for name, section in sections for key, value in section.items()]


globals().update(settings(yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))))
