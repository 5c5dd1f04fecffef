"""Do the numbers a part was given make sense? If not: one line that says what would."""

from __future__ import annotations

from collections.abc import Sequence

from densekit.errors import ConfigError


def check_triples(part: str, **sizes: Sequence[int]) -> None:
    """Raise ConfigError unless each value is three positive whole numbers, (D, H, W)."""
    for name, value in sizes.items():
        fits = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3
        if not fits or any(not isinstance(v, int) or v < 1 for v in value):
            raise ConfigError(
                f"{part}.{name}={value!r}: expected three positive whole numbers (D, H, W), e.g. (2, 4, 4)"
            )


def check_stages(part: str, **per_stage: Sequence[int]) -> None:
    """Raise ConfigError unless every value has one positive whole number per stage, all for as many stages."""
    for name, value in per_stage.items():
        fits = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        if not fits or any(not isinstance(v, int) or v < 1 for v in value):
            raise ConfigError(f"{part}.{name}={value!r}: expected one positive whole number per stage, fine to coarse")
    lengths = {name: len(value) for name, value in per_stage.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ConfigError(f"{part}: {said}; all need one value per stage")
