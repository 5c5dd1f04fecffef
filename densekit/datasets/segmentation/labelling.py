"""Which label each value of a mask stands for: the one place where values, ADE20K's 0 among them, become labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from densekit.datasets.segmentation.classes import ClassList, Colour
from densekit.datasets.segmentation.draft import Draft
from densekit.datasets.segmentation.masks import VALUES
from densekit.errors import ConfigError, DataError, close_names, few
from densekit.structures.label_images import IGNORED, MOST_CLASSES

_BINARY = {0, 255}
_ALWAYS = (255, 65535)
"""Values that stand for no class unless the list says so: the greatest of 8 and of 16 bits."""


@dataclass(frozen=True)
class Ignored:
    """What a user wants left out.

    Attributes:
        values: Values of masks.
        colours: Colours of masks.
        names: Classes.
    """

    values: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Ignored:
        """Understand a value, a name, ``(r, g, b)`` in a list of its own, or several of these.

        Raises:
            ConfigError: for anything else.
        """
        items = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
        values = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
        names = [item for item in items if isinstance(item, str)]
        colours = [tuple(item) for item in items if isinstance(item, (tuple, list))]
        sound = all(len(c) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in c) for c in colours)
        sound &= all(0 <= value < VALUES for value in values)
        if not sound or len(values) + len(names) + len(colours) < len(items):
            forms = f"values of masks (0 to {VALUES - 1}), colours [[r, g, b]] or names of classes"
            raise ConfigError(f"ignore={given!r}: expected {forms}")
        return cls(tuple(values), tuple(colours), tuple(names))


@dataclass(frozen=True)
class Labelling:
    """Classes and the labels of values.

    Attributes:
        classes: In the order of the labels.
        lookup: Label of each value, uint8 ``(65536,)``; IGNORED where there is none.
        strange: Values that were seen and stand for nothing.
        zero: Whether 0 was seen, is no class and nobody said that it is to be ignored.
        notes: What was assumed, for the user.
    """

    classes: ClassList
    lookup: np.ndarray
    strange: tuple[int, ...]
    zero: bool
    notes: tuple[str, ...] = ()


def own_and_given(draft: Draft, given: ClassList | None) -> ClassList | None:
    """Join what the layout says of the classes with what the user says.

    Raises:
        ConfigError: if the user names classes that the layout does not have.
    """
    own = draft.classes
    if own is None or given is None:
        return own or given
    background = next((n for n, v in zip(own.names, own.values, strict=True) if v == draft.background), None)
    if background is not None and background not in given.names and len(given.names) < len(own.names):
        black = given.colours and ((0, 0, 0), *given.colours)
        given = replace(given, names=(background, *given.names), colours=black)  # what nobody drew is something else
    if not draft.named:
        if len(given.names) != len(own.names):
            raise ConfigError(
                f"{given.source}: {len(given.names)} classes, the data have {len(own.names)}: {few(own.names)}"
            )
        return replace(own, names=given.names, colours=given.colours)
    place = {name: number for number, name in enumerate(own.names)}
    for name in given.names:
        if name not in place:
            raise ConfigError(
                f"{given.source}: {name!r} is not a class of the data set{close_names(name, own.names)} "
                f"(it has {few(own.names, 20)})"
            )
    chosen = [place[name] for name in given.names]
    left = [value for name, value in zip(own.names, own.values, strict=True) if name not in given.names]
    return replace(
        own,
        names=given.names,
        values=tuple(own.values[n] for n in chosen),
        colours=given.colours or (own.colours and tuple(own.colours[n] for n in chosen)),
        ignored=(*own.ignored, *left),
    )


def label(
    classes: ClassList | None, ignored: Ignored, seen: Mapping[int, int], background: int | None = None
) -> Labelling:
    """Decide which value stands for which label.

    Args:
        classes: What is known of them; None: they are the values that are seen.
        ignored: What is to be left out.
        seen: Pixels of each value in all masks.
        background: The value of what nobody drew: classes that are left out are taken for it.

    Raises:
        ConfigError: if a class that is to be ignored is not there.
        DataError: if there is no class list and the values cannot be classes.
    """
    notes, out = [], set(ignored.values)
    binary = set(seen) == _BINARY and 255 not in out
    if classes is None:
        values = (0, 255) if binary else tuple(sorted(set(seen) - out - set(_ALWAYS)))
        classes = _found(values, binary)
        notes.append(f"no class list is given: the {len(values)} values found are the classes: {few(classes.names)}")
    elif classes.values is None:
        free = (value for value in range(VALUES) if value not in out)
        binary = binary and len(classes.names) <= 2
        if binary and len(classes.names) + (0 in out) < 2:
            one = f"one class, {classes.names[0]!r}, for masks of 0 and 255"
            raise ConfigError(f"{classes.source}: {one}; name both, or give ignore=0")
        among = (0, 255)[-len(classes.names) :]
        classes = replace(classes, values=among if binary else tuple(next(free) for _ in classes.names))
    if binary:
        said = " and ".join(f"{value} is {name!r}" for value, name in zip(classes.values, classes.names, strict=True))
        notes.append(f"masks of 0 and 255: {said}")
    left = {value for value in classes.ignored if isinstance(value, int)}
    classes, named = _without(classes, out, ignored.names)
    lookup = np.full(VALUES, IGNORED, np.uint8)
    if background in classes.values:  # a drawn class that is left out is as if nobody had drawn it
        lookup[sorted(left)] = classes.values.index(background)
    lookup[list(classes.values)] = np.arange(len(classes.names))
    known = {*classes.values, *out, *left, *named, *_ALWAYS}
    strange = tuple(sorted(set(seen) - known - {0}))
    return Labelling(classes, lookup, strange, 0 in seen and 0 not in known, tuple(notes))


def _found(values: Sequence[int], binary: bool) -> ClassList:
    """Classes that are called by their values."""
    if not values:
        raise DataError(
            "no mask has a pixel with a class: their values are all ignored (255 always is); check that they are the "
            "masks, or name the classes in a class list"
        )
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"masks have {len(values)} values; without a class list 1 to {MOST_CLASSES} are understood, one a class: "
            f"are they numbers of objects, or heights?"
        )
    names = ("background", "foreground") if binary else tuple(map(str, values))
    return ClassList(names, tuple(values), source="masks")


def _without(classes: ClassList, values: Collection[int], names: Collection[str]) -> tuple[ClassList, set[int]]:
    """Leave out classes by value and name; return also the values of those left out by name."""
    for name in names:
        if name not in classes.names:
            raise ConfigError(
                f"ignore={name!r}: no such class{close_names(name, classes.names)}; there are {few(classes.names)}"
            )
    kept = [n for n, v in enumerate(classes.values) if v not in values and classes.names[n] not in names]
    if not kept:
        raise ConfigError(f"ignore: leaves none of the classes {few(classes.names)}")
    named = {value for value, name in zip(classes.values, classes.names, strict=True) if name in names}
    colours = classes.colours and tuple(classes.colours[n] for n in kept)
    chosen = {"names": tuple(classes.names[n] for n in kept), "values": tuple(classes.values[n] for n in kept)}
    return replace(classes, **chosen, colours=colours), named
