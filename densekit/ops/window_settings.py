"""How a window slides over a volume: every setting with its default and its check, for prediction and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from densekit.errors import ConfigError, close_names
from densekit.ops.mirror import LEFT_RIGHT_AXIS, axis_numbers, label_swaps

WEIGHTS = ("gaussian", "uniform")
ACTIVATIONS = ("logits", "softmax")


@dataclass(frozen=True)
class WindowSettings:
    """Settings of sliding-window prediction; lists become tuples, and what cannot be is refused.

    Attributes:
        window: Window (d, h, w) in voxels. A smaller volume is padded symmetrically.
        overlap: Share of a window that the next one covers again, for all axes or per axis, in [0, 1).
        batch: Windows per call of the network. Does not change the result.
        weights: How windows are blended: ``"gaussian"`` or ``"uniform"``, see
            :func:`densekit.ops.sliding_window.window_weights`.
        mirror_axes: Spatial axes (0 = D, 1 = H, 2 = W, left-right) to mirror. The scores are averaged over all
            combinations of them: 2 ** n network calls.
        mirror_swaps: Pairs of channels (left and right kidney) that trade places in a left-right mirror image. None:
            nobody said; :meth:`check_labels` then refuses what would mix up left and right.
        activation: What is averaged: ``"logits"`` (as MONAI does), ``"softmax"`` (as nnU-Net v1 and nnFormer do), or
            None: logits without mirroring, softmax with, since logits of separate passes have no common scale.

    Raises:
        ConfigError: naming the setting, its value and what is expected.
    """

    window: tuple[int, int, int]
    overlap: float | tuple[float, float, float] = 0.5
    batch: int = 1
    weights: str = "gaussian"
    mirror_axes: tuple[int, ...] = ()
    mirror_swaps: tuple[tuple[int, int], ...] | None = None
    activation: str | None = None

    def __post_init__(self) -> None:
        for name in ("window", "overlap", "mirror_axes", "mirror_swaps"):
            object.__setattr__(self, name, _as_tuples(getattr(self, name)))
        for name, (holds, expected) in _CHECKS.items():
            value = getattr(self, name)
            if not holds(value):
                raise ConfigError(f"inference {name}={value!r}: expected {expected}")
        for name, known in (("weights", WEIGHTS), ("activation", (*ACTIVATIONS, None))):
            value = getattr(self, name)
            if value not in known:
                options = " or ".join(map(repr, known))
                raise ConfigError(f"inference {name}={value!r}: expected {options}{close_names(str(value), known[:2])}")

    @property
    def softmax(self) -> bool:
        """Whether probabilities are averaged, not logits."""
        return self.activation == "softmax" or (self.activation is None and len(self.mirror_axes) > 0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WindowSettings:
        """Make it from the plain dict that checkpoints keep.

        Raises:
            ConfigError: if a key is unknown, the window is missing, or a value cannot be.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"inference: unknown setting {key!r}{close_names(key, known)}, known: {', '.join(known)}"
                )
        if "window" not in values:
            raise ConfigError("inference: the setting 'window' (d, h, w) is missing")
        return cls(**values)

    @classmethod
    def from_config(
        cls, values: Mapping[str, Any], *, labels: Sequence[str], mirror_pairs: Sequence[Sequence[str]] = ()
    ) -> WindowSettings:
        """Make it from the ``inference`` of a config, where axes to mirror have anatomical names, as in training.

        Args:
            values: As for :meth:`from_dict`, but for the names of ``mirror_axes``.
            labels: Class names by label value.
            mirror_pairs: Pairs of class names that trade places in a left-right mirror image.

        Raises:
            ConfigError: as :meth:`from_dict`, and for a left-right mirror of a class whose partner is not known.
        """
        axes = values.get("mirror_axes", ())
        if not isinstance(axes, (list, tuple)):
            raise ConfigError(f"inference.mirror_axes={axes!r}, expected a list of axes, e.g. ('left-right',)")
        given = {**values, "mirror_axes": axis_numbers(axes, where="inference.mirror_axes")}
        if LEFT_RIGHT_AXIS in given["mirror_axes"]:
            given["mirror_swaps"] = label_swaps(mirror_pairs, labels, where="inference.mirror_axes")
        return cls.from_dict(given)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; :meth:`from_dict` brings them back."""
        return {field.name: _as_lists(getattr(self, field.name)) for field in fields(self)}

    def check_labels(self, labels: Sequence[str]) -> None:
        """See that a left-right mirror knows which labels trade places.

        Raises:
            ConfigError: if left and right would be mixed up.
        """
        if LEFT_RIGHT_AXIS not in self.mirror_axes or self.mirror_swaps is not None:
            return
        partners = [name.replace("left", "right") for name in labels]
        sided = [
            (label, labels.index(partner))
            for label, (name, partner) in enumerate(zip(labels, partners, strict=True))
            if partner != name and partner in labels
        ]
        if sided:
            raise ConfigError(
                f"inference: mirror_axes has the left-right axis {LEFT_RIGHT_AXIS}, but nothing says which labels "
                f"trade places; add mirror_swaps={sided}"
            )

    def check_fixed_size(self, network: Any) -> None:
        """See that a network which takes one size only is given windows of that size.

        Args:
            network: Says its size (d, h, w) as ``fixed_size``; without it, or with None, any window will do.

        Raises:
            ConfigError: if the window has another size.
        """
        fixed = getattr(network, "fixed_size", None)
        if fixed is not None and self.window != tuple(fixed):
            raise ConfigError(
                f"inference window={self.window}, but the backbone takes exactly {tuple(fixed)} (img_size); make the "
                f"two the same, and patch_size too"
            )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value


def _as_lists(value: Any) -> Any:
    return list(map(_as_lists, value)) if isinstance(value, tuple) else value


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _is_window(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(_whole(size, 1) for size in value)


def _is_overlap(value: Any) -> bool:
    shares = value if isinstance(value, tuple) else (value,) * 3
    return len(shares) == 3 and all(isinstance(share, Real) and 0 <= share < 1 for share in shares)


def _are_axes(value: Any) -> bool:
    return isinstance(value, tuple) and all(_whole(axis, 0) and axis < 3 for axis in value)


def _are_pairs(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, tuple) or any(not isinstance(pair, tuple) or len(pair) != 2 for pair in value):
        return False
    channels = [channel for pair in value for channel in pair]
    return all(_whole(channel, 0) for channel in channels) and len(set(channels)) == len(channels)


_CHECKS = {
    "window": (_is_window, "three voxel counts (d, h, w) of at least 1"),
    "overlap": (_is_overlap, "a fraction from 0 up to, not including, 1 (0.5 is usual)"),
    "batch": (lambda value: _whole(value, 1), "at least 1 window at a time"),
    "mirror_axes": (_are_axes, "axes among 0 (D), 1 (H), 2 (W, left-right)"),
    "mirror_swaps": (_are_pairs, "pairs of channels, each channel at most once"),
}
