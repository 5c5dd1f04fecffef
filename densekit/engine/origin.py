"""Where each value of a config comes from: the file and line that set it, or the option of the command line.

A run leaves ``config.txt``, every key as it was used with its origin behind it. Origins are found by comparing: a key
is set by the last file of the chain of bases that changes its value.
"""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit.engine.config import Override, bases, find_config, read_file, read_option
from densekit.io import write_text_atomic

PROJECT = Path(__file__).parents[1]
WIDTH = 100
"""Characters of a line of ``config.txt``, without its comment."""
COLUMN = 64
"""Comments stand at this column at most; after a longer line they follow it."""
TITLE = "# The config of this run as it was used: every key, its value, and where that was set."
DEFAULT = "default"
"""Origin of what no file and no option sets."""


def origins(
    path: str | Path, options: Sequence[Override] = (), foreign: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Find what set each key of a config; a key that is not in the result has its default.

    Args:
        path: A config file, or the name of a config of the package.
        options: The overrides, in their order.
        foreign: The keys of the task that the config of another library gave, and the key that each was read from.

    Returns:
        By key, ``"configs/_base_/sepc.py:41"`` (below the current folder or the package, else the whole path) or
        ``"--cfg-options lr_batch=8"``. A part that an option changed has an entry of its own, ``"optimizer.lr"``.

    Raises:
        ConfigError: if a file cannot be read, or is no Python.
    """
    found = _of_file(find_config(path))
    foreign = {} if foreign is None or "task" in found else foreign
    roots = [read_option(option)[0].partition(".")[0] for option in options]
    early = [bool(foreign) and root in found and root not in foreign for root in roots]
    found = _overridden(found, [option for option, first in zip(options, early, strict=True) if first])
    for key, read_from in foreign.items():
        if key not in found and read_from in found:
            found[key] = f"{found[read_from]} ({read_from})"
    return _overridden(found, [option for option, first in zip(options, early, strict=True) if not first])


def _overridden(found: dict[str, str], options: Sequence[Override]) -> dict[str, str]:
    for option in options:
        key, _, place = read_option(option)
        root = key.partition(".")[0]
        found = {name: where for name, where in found.items() if name != key and not name.startswith(f"{key}.")}
        found[key] = place
        if key != root:
            before = found.get(root, DEFAULT).partition(", changed by")[0]
            found[root] = f"{before}, changed by {place}"
    return found


def _of_file(path: Path) -> dict[str, str]:
    """Origins of the keys of a file and of its bases."""
    found: dict[str, str] = {}
    before: dict[str, Any] = {}
    for base, _ in bases(path):
        found |= _of_file(base)
        before |= dict(read_file(base).items())
    assigned, named = _lines(path)
    values = dict(read_file(path).items())
    for key, value in values.items():
        if key in before and before[key] == value:
            continue
        if key in assigned:
            found[key] = f"{shown(path)}:{assigned[key]}"
        elif key in named:
            found[key] = f"{found[key]}, changed in {shown(path)}:{named[key]}"
    return {key: place for key, place in found.items() if key in values}


def _lines(path: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Lines of the last assignment to each name of a file, and of the last statement that names it otherwise."""
    assigned: dict[str, int] = {}
    named: dict[str, int] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                assigned[node.asname or node.name] = node.lineno
            elif isinstance(node, ast.Name):
                (assigned if isinstance(node.ctx, ast.Store) else named)[node.id] = node.lineno
    return assigned, named


def shown(path: Path) -> str:
    """A path as it is said: below the current folder or the package, else whole."""
    whole = path.resolve()
    for folder in (Path.cwd(), PROJECT):
        if whole.is_relative_to(folder):
            return whole.relative_to(folder).as_posix()
    return str(whole)


def assignment(key: str, value: Any, comment: str = "") -> list[str]:
    """Lines of Python that assign a value to a key, the comment behind the first."""
    lines = _unfold(key, value, {key: comment} if comment else {})
    return [f"{text}  # {_one_line(said)}" if said else text for text, said in lines]


# --- config.txt -------------------------------------------------------------------------------------------------------
def write_resolved(path: Path, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Write the config of a run as a text to read: ``key = value  # origin``, a nested dict over several lines.

    The text is Python: what it assigns are the values again.

    Args:
        path: The file to write, by rename.
        values: Every key of the run, plain values.
        origins: What :func:`origins` returned, with whatever the caller adds; a dotted key (``"optimizer.lr"``) says
            where a part comes from. Keys without one stand without a comment.

    Raises:
        OutputError: if the file cannot be written.
    """
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        lines += _unfold(key, value, origins)
    column = max((len(text) for text, comment in lines if comment and len(text) <= COLUMN), default=0)
    shown = [f"{text:<{column}}  # {_one_line(comment)}" if comment else text for text, comment in lines]
    write_text_atomic(path, "\n".join([TITLE, "", *shown]) + "\n")


def _unfold(
    key: str, value: Any, origins: Mapping[str, str], *, start: str | None = None, end: str = "", indent: int = 0
) -> list[tuple[str, str]]:
    """Lines ``(text, comment)`` for one key or one part.

    Args:
        key: Dotted name, by which the origin is looked up.
        value: Its value.
        origins: See :func:`write_resolved`.
        start: What stands before the value; default ``key = ``.
        end: What follows the value.
        indent: Spaces before.
    """
    start = f"{key} = " if start is None else start
    before, comment = f"{' ' * indent}{start}", origins.get(key, "")
    whole = f"{before}{_text(value)}{end}"
    parted = any(name.startswith(f"{key}.") for name in origins)
    if not isinstance(value, (Mapping, list, tuple)) or not value:
        return [(whole, comment)]
    if _is_flat(value) and len(whole) <= WIDTH and not parted:
        return [(whole, comment)]
    inner: list[tuple[str, str]] = []
    deeper = {"origins": origins, "end": ",", "indent": indent + 4}
    if isinstance(value, Mapping):
        named = _takes_names(value)
        opening, closing = ("dict(", ")") if named else ("{", "}")
        for name, part in value.items():
            inner += _unfold(f"{key}.{name}", part, start=f"{name}=" if named else f"{_text(name)}: ", **deeper)
    else:
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
        if parted or not all(_is_scalar(part) for part in value):
            for number, part in enumerate(value):
                inner += _unfold(f"{key}.{number}", part, start="", **deeper)
        else:
            inner = [(line, "") for line in _filled([_text(part) for part in value], indent + 4)]
    return [(f"{before}{opening}", comment), *inner, (f"{' ' * indent}{closing}{end}", "")]


def _filled(items: list[str], indent: int) -> list[str]:
    """Several items a line, none of them broken."""
    lines = [" " * indent]
    for item in items:
        if len(lines[-1]) + len(item) + 1 > WIDTH and lines[-1].strip():
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * indent)
        lines[-1] += f"{item}, "
    lines[-1] = lines[-1].rstrip()
    return lines


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (Mapping, list, tuple))


def _is_flat(value: Any) -> bool:
    """Whether a value reads well in one line: at most one dict in it, at its outside."""
    if isinstance(value, Mapping):
        return not any(_has_dict(part) for part in value.values())
    return not _has_dict(value)


def _has_dict(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(_has_dict(part) for part in value))


def _takes_names(value: Mapping[Any, Any]) -> bool:
    """Whether the keys can be written as ``dict(key=...)``."""
    return all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)


def _text(value: Any) -> str:
    """A value as Python writes it, strings in double quotes where that needs no escapes."""
    if isinstance(value, Mapping):
        if _takes_names(value):
            return f"dict({', '.join(f'{key}={_text(part)}' for key, part in value.items())})"
        return "{" + ", ".join(f"{_text(key)}: {_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, str) and value.isprintable() and not {'"', "\\"} & set(value):
        return f'"{value}"'
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
