"""Do the numbers a part was given make sense, and do two parts fit together? If not: one line that says what would."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

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


def check_fit(source: nn.Module, target: nn.Module, *, all_levels: bool) -> None:
    """Raise ConfigError if the pyramid of ``source`` is not the one ``target`` was built for.

    Args:
        source: A backbone or neck with ``out_channels``, ``out_strides`` and ``spatial_dims``.
        target: A neck or head with ``in_channels``, ``in_strides`` and ``spatial_dims``.
        all_levels: True if the target takes exactly the source's levels (neck); False if only the finest (head).
    """
    first, second = type(source).__name__, type(target).__name__
    names = f"{first} -> {second}"
    for attribute, role in (("spatial_dims", source), ("out_channels", source), ("in_channels", target)):
        if not hasattr(role, attribute):
            part = type(role).__name__
            raise ConfigError(
                f"{names}: {part} does not say its `{attribute}`, so it cannot be part of a VolumeSegmentor"
            )
    dims = getattr(target, "spatial_dims", source.spatial_dims)
    if source.spatial_dims != dims:
        raise ConfigError(
            f"{names}: the first works on {source.spatial_dims}D data, the second on {dims}D; "
            f"take a {source.spatial_dims}D {second} or a {dims}D {first}"
        )
    for what in ("channels", "strides"):
        given, wanted = tuple(getattr(source, f"out_{what}")), tuple(getattr(target, f"in_{what}"))
        if len(given) < len(wanted) or (all_levels and len(given) != len(wanted)):
            raise ConfigError(
                f"{names}: {first} gives {len(given)} levels with {what} {given}, {second} is set to take "
                f"{len(wanted)} with {what} {wanted}; set {second} to {what} {given}"
            )
        if given[: len(wanted)] != wanted:
            raise ConfigError(
                f"{names}: {first} gives {what} {given}, {second} is set to take {wanted}; "
                f"set {second} to {given[: len(wanted)]}"
            )
