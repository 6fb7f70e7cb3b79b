"""How large an experiment is: the same code path at three sizes."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

PROFILES = ("smoke", "laptop", "paper")

# What some experiments have between the last two, where there is no GPU: the part that two cores finish in an hour.
CPU = "cpu"

C = TypeVar("C")


def choose(profiles: Mapping[str, C], profile: str) -> C:
    """The configuration of a profile; ``ValueError`` listing the profiles if there is none of that name."""
    if profile not in profiles:
        raise ValueError(f"profile must be one of {', '.join(profiles)}; got {profile!r}")
    return profiles[profile]


def name_of(profiles: Mapping[str, Any], config: Any) -> str:
    """The profile that this configuration is, or "custom"."""
    return next((name for name, known in profiles.items() if known == config), "custom")


def check_counts(config: Any, *names: str) -> None:
    """``ValueError`` unless these fields of a configuration are whole numbers of at least one."""
    for name in names:
        value = asdict(config)[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """``ValueError`` listing what is allowed unless ``value`` is."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
