"""Class lists of label images: names, the values and the colours that stand for them; from a file or a mapping.

Files that are understood:

* TXT: a name a line; or the label map of a CVAT export, ``name:r,g,b::`` a line.
* CSV with a header: ``name`` (or ``class``, ``label``), and any of ``value`` (or ``id``, ``index``), ``r``, ``g``,
  ``b`` (or ``red``...) and ``colour`` (``#3c1098``).
* JSON: a list of names; ``{"name": value}`` or ``{"value": "name"}``; ``{"name": [r, g, b]}``; a list of objects with
  ``name``, ``value``/``id``, ``colour``; any of these under ``classes`` or ``categories`` (Supervisely's meta.json,
  COCO).

A line called ``ignore``, ``ignored``, ``void``, ``unlabelled`` or ``unlabeled`` names no class: pixels of its value or
colour are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from densekit.datasets.shared.splits import read_rows
from densekit.errors import ConfigError, few
from densekit.io.files import load_json, read_text, require_file
from densekit.structures.label_images import MOST_CLASSES

Colour = tuple[int, int, int]
"""Red, green, blue."""

IGNORED_NAMES = frozenset({"ignore", "ignored", "void", "unlabelled", "unlabeled"})
_NAMES = ("name", "class", "label", "title", "class_name", "classname", "classes")
_VALUES = ("value", "id", "index", "idx", "class_id", "label_id", "trainid")
_COLOURS = ("colour", "color", "rgb", "hex")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their labels.

    Attributes:
        names: Of the classes.
        values: What stands for each class in an index mask; None: nothing is said, they are counted from 0.
        colours: What stands for each in a coloured mask, and what it is drawn in; None: none are given.
        ignored: Values and colours that stand for no class.
        source: Where the list is from, for messages.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None = None
    colours: tuple[Colour, ...] | None = None
    ignored: tuple[int | Colour, ...] = ()
    source: str = "classes"

    def check(self) -> ClassList:
        """Return the list.

        Raises:
            ConfigError: if it is empty or too long, or a name or a value is there twice.
        """
        problem = ""
        if not self.names or len(self.names) > MOST_CLASSES:
            problem = f"has {len(self.names)} classes; give 1 to {MOST_CLASSES}"
        elif twice := _twice(self.names):
            problem = f"{twice!r} is there twice; give each class once"
        elif self.values is not None and (twice := _twice(self.values)) is not None:
            both = [name for name, value in zip(self.names, self.values, strict=True) if value == twice]
            problem = f"{' and '.join(map(repr, both))} have one value, {twice}; give each class a value of its own"
        if problem:
            raise ConfigError(f"{self.source}: {problem}")
        return self


def packaged(name: str, ignored: tuple[int, ...] = ()) -> ClassList:
    """The classes of a public data set, by the name of the file in ``class_lists``; and values that stand for none."""
    with resources.as_file(resources.files(__package__) / "class_lists" / f"{name}.csv") as path:
        return replace(read_class_list(path), ignored=ignored, source=name)


def class_list(given: Sequence[str] | Mapping[str, Any] | str | Path) -> ClassList:
    """Understand what a config or a call gives as classes.

    Args:
        given: Names in the order of their labels; ``{name: value}`` or ``{name: (r, g, b)}``; or a file, see above.

    Raises:
        ConfigError: if it is no class list.
        DataError: if the file cannot be read.
    """
    if isinstance(given, (str, Path)):
        path = Path(given).expanduser()
        if isinstance(given, str) and not path.suffix and not path.exists():
            raise ConfigError(f"classes={given!r}: no such file; a class list is a .csv, .json or .txt, or [{given!r}]")
        return read_class_list(path)
    return _of_json(given, "classes").check()


def read_class_list(path: Path) -> ClassList:
    """Read a class list from a file.

    Raises:
        DataError: if the file cannot be read.
        ConfigError: if what it says is no class list.
    """
    require_file(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_json(load_json(path), str(path)).check()
    if suffix == ".csv":
        return _of_csv(path).check()
    if suffix in (".txt", ".names"):
        return _of_text(path).check()
    raise ConfigError(f"{path}: a class list is a .csv, .json or .txt file")


def _of_text(path: Path) -> ClassList:
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    coloured = [re.fullmatch(r"([^:]+):(\d+),(\d+),(\d+):.*", line) for line in lines]
    if lines and all(coloured):
        return _of_rows([(m[1], None, tuple(map(int, m.groups()[1:]))) for m in coloured], str(path))
    return _of_rows([(line, None, None) for line in lines], str(path))


def _of_csv(path: Path) -> ClassList:
    header, lines = read_rows(path)
    name, value, colour = (next((c for c in known if c in header), None) for known in (_NAMES, _VALUES, _COLOURS))
    channels = [next((c for c in known if c in header), None) for known in _CHANNELS]
    if name is None:
        commas = ", and commas between the columns" if any(";" in column for column in header) else ""
        raise ConfigError(f"{path}, line 1: the header is {few(header) or 'empty'}; expected a column name{commas}")
    rows = []
    for number, row in lines:
        where = f"{path}, line {number}"
        if not (row[name] or "").strip():
            continue
        given = [row[c] for c in channels] if all(channels) else row[colour] if colour else None
        rows.append((row[name], _value(row[value], where) if value else None, given and _colour(given, where)))
    return _of_rows(rows, str(path))


def _of_json(content: Any, source: str) -> ClassList:
    if isinstance(content, Mapping):
        inside = next((content[key] for key in ("classes", "categories", "labels") if key in content), None)
        if isinstance(inside, (list, tuple, Mapping)):
            return _of_json(inside, source)
        rows = [_of_item(key, item, source) for key, item in content.items()]
    elif isinstance(content, Sequence) and not isinstance(content, str):
        rows = [(item, None, None) if isinstance(item, str) else _of_object(item, source) for item in content]
    else:
        raise ConfigError(f"{source}: expected a list of names, or names with values or colours")
    return _of_rows(rows, source)


def _of_item(key: Any, item: Any, source: str) -> tuple[str, int | None, Colour | None]:
    """One of ``{"1": "wall"}``, ``{"wall": 1}``, ``{"wall": [120, 120, 120]}`` and ``{"wall": "#787878"}``."""
    if isinstance(item, str) and not item.startswith("#"):
        return item, _value(key, source), None
    if isinstance(item, Mapping):
        return _of_object({"name": key, **item}, source)
    if isinstance(item, (str, list, tuple)):
        return str(key), None, _colour(item, source)
    return str(key), _value(item, source), None


def _of_object(item: Any, source: str) -> tuple[str, int | None, Colour | None]:
    if not isinstance(item, Mapping) or not any(isinstance(item.get(key), str) for key in _NAMES):
        raise ConfigError(f"{source}: {item!r} names no class; expected a name or an object with the key name")
    name = next(item[key] for key in _NAMES if isinstance(item.get(key), str))
    # Supervisely's "id" is a number of the server
    value = None if "title" in item else next((item[key] for key in _VALUES if item.get(key) is not None), None)
    colour = next((item[key] for key in _COLOURS if item.get(key)), None)
    return name, None if value is None else _value(value, source), colour and _colour(colour, source)


def _of_rows(rows: Sequence[tuple[str, int | None, Colour | None]], source: str) -> ClassList:
    """Build a list from names with values and colours, either of which all have or none."""
    rows = [(name.strip(), value, colour) for name, value, colour in rows]
    ignored = tuple(x for n, v, c in rows if n.lower() in IGNORED_NAMES for x in (v, c) if x is not None)
    kept = [row for row in rows if row[0].lower() not in IGNORED_NAMES]
    found: list[tuple | None] = []
    for place, what in ((1, "value"), (2, "colour")):
        lacking = [row[0] for row in kept if row[place] is None]
        if lacking and len(lacking) < len(kept):
            raise ConfigError(
                f"{source}: {few(map(repr, lacking), 3)} has no {what}, others have; give all one, or none"
            )
        found.append(None if lacking else tuple(row[place] for row in kept))
    if len(kept) < len(rows) and found == [None, None]:  # in a plain list, a name of nothing has its place too
        places = [(place, name.lower() in IGNORED_NAMES) for place, (name, _, _) in enumerate(rows)]
        found[0], ignored = (tuple(place for place, is_ignored in places if is_ignored == out) for out in (False, True))
    return ClassList(tuple(row[0] for row in kept), *found, ignored=ignored, source=source)


def _value(given: Any, where: str) -> int:
    try:
        value = int(given)
    except (TypeError, ValueError):
        value = -1
    if isinstance(given, bool) or not 0 <= value < 65536:
        raise ConfigError(f"{where}: {given!r} is no value of a mask; expected a whole number from 0 to 65535")
    return value


def _colour(given: Any, where: str) -> Colour:
    """Understand ``#rrggbb``, ``r,g,b`` in text and three numbers."""
    values: Any = given
    if isinstance(given, str):
        text = given.strip().lstrip("#")
        if re.fullmatch("[0-9a-fA-F]{6}", text):
            return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)
        values = re.findall(r"\d+", text)
    try:
        colour = tuple(int(value) for value in values)
    except (TypeError, ValueError):
        colour = ()
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ConfigError(f"{where}: {given!r} is no colour; expected red, green, blue of 0 to 255, or #rrggbb")
    return colour


def _twice(values: Sequence[Any]) -> Any:
    seen: set[Any] = set()
    return next((value for value in values if value in seen or seen.add(value)), None)
