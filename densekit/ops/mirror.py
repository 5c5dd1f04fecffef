"""Mirroring a canonical volume: its axes by their anatomical names, and the labels that trade places."""

from __future__ import annotations

import re
from collections.abc import Sequence

from densekit.errors import ConfigError, close_names

# Canonical volumes are (D, H, W) with the index growing towards superior, posterior and left.
ANATOMICAL_AXES = {"superior-inferior": 0, "anterior-posterior": 1, "left-right": 2}
"""Spatial axis of a canonical volume (D, H, W) by its anatomical name."""

LEFT_RIGHT_AXIS = ANATOMICAL_AXES["left-right"]

# "left kidney", "kidney_right", "KidneyLeft"; not "bright"
_SIDED = re.compile(r"(?<![A-Za-z])(?i:left|right)(?![a-z])|Left|Right")


def axis_numbers(axes: Sequence[str], *, where: str) -> tuple[int, ...]:
    """Spatial axes by their anatomical names.

    Args:
        axes: Keys of :data:`ANATOMICAL_AXES`.
        where: What was given these axes, for the message.

    Raises:
        ConfigError: for a name that is no axis.
    """
    for axis in axes:
        if axis not in ANATOMICAL_AXES:
            raise ConfigError(
                f"{where}: unknown axis {axis!r}, expected {', '.join(ANATOMICAL_AXES)}"
                f"{close_names(str(axis), ANATOMICAL_AXES)}"
            )
    return tuple(ANATOMICAL_AXES[axis] for axis in axes)


def label_swaps(
    pairs: Sequence[Sequence[str]], labels: Sequence[str], *, where: str, otherwise: str = ""
) -> tuple[tuple[int, int], ...]:
    """Label values that trade places in a left-right mirror image.

    A mirrored left kidney looks like a right kidney, so every class whose name says a side needs its partner.

    Args:
        pairs: Pairs of class names.
        labels: Class names by label value.
        where: What was given these pairs, for the message.
        otherwise: What else would help where a partner is missing, for the message.

    Raises:
        ConfigError: for a name that is no class or stands twice, or a class with a side and without a partner.
    """
    labels = list(labels)
    paired = [name for pair in pairs for name in pair]
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise ConfigError(f"{where} has {pair!r}, expected pairs of two class names")
    for name in paired:
        if name not in labels:
            raise ConfigError(f"{where} names {name!r}, which is not a class{close_names(name, labels)}")
        if paired.count(name) > 1:
            raise ConfigError(f"{where} names {name!r} more than once; each class has one partner at most")
    sided = [name for name in labels if _SIDED.search(name) and name not in paired]
    if sided:
        raise ConfigError(
            f"{where}: a left-right mirror would mislabel {', '.join(map(repr, sided))}; pair them, as in "
            f"[('left kidney', 'right kidney')], or leave 'left-right' out of the axes{otherwise}"
        )
    return tuple((labels.index(one), labels.index(other)) for one, other in pairs)
