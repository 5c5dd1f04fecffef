"""How an image is segmented: whole or by tiles, at which scales; every setting with its default and its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from densekit.errors import ConfigError, close_names

MODES = ("whole", "slide")
BLENDS = ("gaussian", "cosine", "mean")


@dataclass(frozen=True)
class TileSettings:
    """Settings of the prediction of images; lists become tuples, and what cannot be is refused.

    Attributes:
        mode: ``"whole"``: the image as its pipeline gives it, at once; ``"slide"``: by tiles that overlap.
        crop: Height and width of a tile. A smaller image is padded with zeros (the mean colour) to it; with
            ``blend="mean"`` it is not, as in MMSegmentation.
        stride: From one tile to the next; None: two thirds of ``crop``. The last tile is moved back to the border.
        blend: How the scores of tiles are weighted where they overlap: ``"gaussian"`` and ``"cosine"`` have no seams;
            ``"mean"`` is MMSegmentation's.
        scales: The image is predicted at each of them, as multiples of the size its pipeline gives, and the
            probabilities are averaged.
        flip: Whether its mirror image is too.
        size_multiple: Height and width of what the network is given are padded to a multiple of it.
        batch: Tiles per call of the network. Does not change the result but for rounding.
        large: An image of more pixels is read, predicted and written by tiles, whatever the mode.

    Raises:
        ConfigError: naming the setting, its value and what is expected.
    """

    mode: str = "whole"
    crop: tuple[int, int] = (512, 512)
    stride: tuple[int, int] | None = None
    blend: str = "gaussian"
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    size_multiple: int = 1
    batch: int = 1
    large: int = 25_000_000

    def __post_init__(self) -> None:
        for name in ("crop", "stride", "scales"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, (list, tuple)) else value)
        for name, (holds, expected) in _CHECKS.items():
            value = getattr(self, name)
            if not holds(value):
                raise ConfigError(f"inference {name}={value!r}: expected {expected}")
        for name, known in (("mode", MODES), ("blend", BLENDS)):
            value = getattr(self, name)
            if value not in known:
                options = " or ".join(map(repr, known))
                raise ConfigError(f"inference {name}={value!r}: expected {options}{close_names(str(value), known)}")
        if self.stride is None:
            object.__setattr__(self, "stride", tuple(max(2 * side // 3, 1) for side in self.crop))
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise ConfigError(
                f"inference stride={self.stride}: larger than crop={self.crop}, so that pixels between the tiles "
                f"would be left out; expected at most the crop"
            )

    @property
    def augmented(self) -> bool:
        """Whether several predictions are averaged."""
        return self.flip or len(self.scales) > 1 or self.scales[0] != 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> TileSettings:
        """Make it from the plain dict that configs and checkpoints keep; None: the defaults.

        Raises:
            ConfigError: if a key is unknown or a value cannot be.
        """
        known = [field.name for field in fields(cls)]
        for key in values or {}:
            if key not in known:
                raise ConfigError(
                    f"inference: unknown setting {key!r}{close_names(key, known)}, known: {', '.join(known)}"
                )
        return cls(**(values or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; :meth:`from_dict` brings them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def origins(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """First rows and first columns of the tiles of an image of ``size`` (height, width)."""
        rows, columns = (
            [min(i * step, max(n - side, 0)) for i in range(max(-(-(n - side) // step), 0) + 1)]
            for n, side, step in zip(size, self.crop, self.stride, strict=True)
        )
        return rows, columns


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_whole, value))


def _are_scales(value: Any) -> bool:
    sound = isinstance(value, tuple) and len(value) > 0
    return sound and all(isinstance(v, Real) and not isinstance(v, bool) and 0 < v <= 16 for v in value)


_CHECKS = {
    "crop": (_is_size, "height and width in pixels, e.g. (512, 512)"),
    "stride": (lambda value: value is None or _is_size(value), "pixels down and across, e.g. (341, 341), or None"),
    "scales": (_are_scales, "numbers above 0, e.g. (0.75, 1.0, 1.25)"),
    "flip": (lambda value: isinstance(value, bool), "True or False"),
    "size_multiple": (_whole, "a whole number of at least 1"),
    "batch": (_whole, "at least 1 tile at a time"),
    "large": (_whole, "a positive number of pixels"),
}
