"""Where each value of a config comes from: the file and line that set it, or the option of the command line.

Config files are read as text here, never run. MMEngine's rules hold: the bases come first, in the order in which they
are imported, whatever line ``with read_base()`` stands on; then the file's own statements; a later one wins. All
branches of an ``if`` count, since none is run.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densekit.errors import ConfigError
from densekit.io import write_text_atomic

PROJECT = Path(__file__).parents[2]
WIDTH = 100
"""Characters of a line of ``config.txt``, without its comment."""
COLUMN = 64
"""Comments stand at this column at most; after a longer line they follow it."""
TITLE = "# The config of this run as it was used: every key, its value, and where that was set."


def origins(path: Path, options: Sequence[str] = ()) -> dict[str, str]:
    """Find what set each key of a config.

    Args:
        path: A new-style MMEngine config file of flat keys.
        options: The ``key=value`` overrides of the command line, in their order.

    Returns:
        By key, ``"configs/_base_/detection.py:41"`` (below the current folder or the project, else the whole path) or
        ``"--cfg-options lr_batch=8"``. If only a part of a value was changed later, both places:
        ``"configs/a.py:9, changed in configs/b.py:12, changed by --cfg-options optimizer.lr=0.1"``; the part then has
        an entry of its own, ``"optimizer.lr"``.

    Raises:
        ConfigError: if a file cannot be read, or is no Python.
    """
    keys = _read(Path(path), Path(path))
    for option in options:
        name, sign, _ = option.partition("=")
        if sign:
            root, *parts = name.split(".")
            _mark(keys, root, parts, f"--cfg-options {option}")
    found: dict[str, str] = {}
    for key, origin in keys.items():
        found[key] = origin.described()
        found.update({f"{key}.{part}": place for part, place in origin.changes.items() if part})
    return found


@dataclass
class _Origin:
    """What set one key, and what changed parts of it since.

    Attributes:
        place: File and line, or option.
        changes: By the dotted name of the part (``""``: some part, which one is not known), in their order.
    """

    place: str
    changes: dict[str, str] = field(default_factory=dict)

    def change(self, part: str, place: str) -> None:
        self.changes = {p: where for p, where in self.changes.items() if p != part and not p.startswith(f"{part}.")}
        self.changes[part] = place

    def described(self) -> str:
        later = dict.fromkeys(self.changes.values())
        return "".join([self.place, *(f", changed {'by' if p.startswith('--') else 'in'} {p}" for p in later)])


def _mark(keys: dict[str, _Origin], root: str, parts: Sequence[str], place: str) -> None:
    """Note that ``place`` set a key, or a part of one."""
    if not parts:
        keys.pop(root, None)  # the order of the keys is that of their last assignment
        keys[root] = _Origin(place)
    elif root in keys:
        keys[root].change(".".join(parts), place)


# --- files ------------------------------------------------------------------------------------------------------------
def _read(path: Path, asked: Path) -> dict[str, _Origin]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise ConfigError(
            f"{asked}: {path} cannot be read ({error.strerror}); check the name in `with read_base()`"
        ) from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = path if line is None else f"{path}:{line}"
        raise ConfigError(f"{where}: is no Python: {error.args[0]}; correct the line") from error
    keys: dict[str, _Origin] = {}
    for statement in tree.body:
        if _is_base(statement):
            for imported in statement.body:
                if isinstance(imported, ast.ImportFrom):
                    _take_base(keys, imported, path, asked)
    _walk((s for s in tree.body if not _is_base(s)), keys, _shown(path))
    return keys


def _is_base(statement: ast.stmt) -> bool:
    """Whether a statement is ``with read_base():``."""
    if not isinstance(statement, ast.With):
        return False
    call = statement.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def _take_base(keys: dict[str, _Origin], imported: ast.ImportFrom, path: Path, asked: Path) -> None:
    base = _read(_base_file(imported, path), asked)
    for alias in imported.names:
        taken = base if alias.name == "*" else {alias.asname or alias.name: base.get(alias.name)}
        for key, origin in taken.items():
            keys.pop(key, None)
            # A name that the base imports itself has no line in it that sets it.
            keys[key] = origin or _Origin(f"{_shown(path)}:{imported.lineno}")


def _base_file(imported: ast.ImportFrom, path: Path) -> Path:
    parts = (imported.module or "").split(".")
    if imported.level:
        return path.parents[imported.level - 1].joinpath(*parts).with_suffix(".py")
    package = importlib.util.find_spec(parts[0])
    if package is None or package.origin is None:
        raise ConfigError(f"{path}:{imported.lineno}: there is no package {parts[0]!r}; install it, or give a file")
    return Path(package.origin).parent.joinpath(*parts[1:]).with_suffix(".py")


def _shown(path: Path) -> str:
    whole = path.resolve()
    for folder in (Path.cwd(), PROJECT):
        if whole.is_relative_to(folder):
            return whole.relative_to(folder).as_posix()
    return str(whole)


# --- statements -------------------------------------------------------------------------------------------------------
def _walk(statements: Iterable[ast.stmt], keys: dict[str, _Origin], file: str) -> None:
    for statement in statements:
        place = f"{file}:{statement.lineno}"
        for target in _targets(statement):
            root, parts = _dotted(target)
            if root is not None:
                _mark(keys, root, parts, place)
        if isinstance(statement, ast.AugAssign):
            root, parts = _dotted(statement.target)
            if root in keys:
                keys[root].change(".".join(parts), place)
        elif isinstance(statement, ast.Delete):
            _delete(statement, keys, place)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            _call(statement.value, keys, place)
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for block in _blocks(statement):
                _walk(block, keys, file)


def _targets(statement: ast.stmt) -> Iterator[ast.expr]:
    """What a statement assigns to, tuples taken apart."""
    given: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        given = list(statement.targets)
    elif (isinstance(statement, ast.AnnAssign) and statement.value is not None) or isinstance(statement, ast.For):
        given = [statement.target]
    elif isinstance(statement, ast.With):
        given = [item.optional_vars for item in statement.items if item.optional_vars is not None]
    while given:
        target = given.pop(0)
        if isinstance(target, (ast.Tuple, ast.List)):
            given = [*target.elts, *given]
        else:
            yield target.value if isinstance(target, ast.Starred) else target


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The statements inside an ``if``, a loop, ``with`` or ``try``."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        block = getattr(statement, name, [])
        for inner in block:
            if not isinstance(inner, ast.stmt):  # an except, a case
                yield inner.body
        yield [inner for inner in block if isinstance(inner, ast.stmt)]


def _dotted(node: ast.expr) -> tuple[str | None, list[str]]:
    """The key a target belongs to, and the part of it: ``schedule[0]["end"]`` is ``("schedule", ["0", "end"])``.

    The part ends before what is only known when the file runs (``schedule[-1]``, ``model[name]``). None: no key.
    """
    parts: list[str | None] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        elif isinstance(node, ast.Subscript):
            index = node.slice.value if isinstance(node.slice, ast.Constant) else None
            parts.append(str(index) if isinstance(index, (str, int)) else None)
        else:
            return None, []
        node = node.value
    parts.reverse()
    known = parts[: parts.index(None)] if None in parts else parts
    return node.id, [""] if parts and not known else known


def _delete(statement: ast.Delete, keys: dict[str, _Origin], place: str) -> None:
    for target in statement.targets:
        root, parts = _dotted(target)
        if root in keys and parts:
            keys[root].change(".".join(parts[:-1]), place)
        elif root in keys:
            del keys[root]


def _call(call: ast.Call, keys: dict[str, _Origin], place: str) -> None:
    """A call whose result is dropped changes what it is called on: ``optimizer.update(lr=0.1)``."""
    if not isinstance(call.func, ast.Attribute):
        return
    root, parts = _dotted(call.func.value)
    if root not in keys:
        return
    changed: list[str | None] = []
    if call.func.attr == "update":
        changed = [argument.arg for argument in call.keywords]
        for argument in call.args:
            changed += _keys_of(argument)
    for name in changed if changed and None not in changed else [None]:
        keys[root].change(".".join([*filter(None, parts), *filter(None, [name])]), place)


def _keys_of(node: ast.expr) -> list[str | None]:
    """The keys of a dict that is written out; None for those that are not."""
    if isinstance(node, ast.Dict):
        return [str(key.value) if isinstance(key, ast.Constant) else None for key in node.keys]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return [argument.arg for argument in node.keywords]
    return [None]


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
