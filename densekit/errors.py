"""What a user can cause ends in one of these errors, with the remedy in its message.

A message is one line: where (file, case, option or config key), what is wrong, what was expected, what to do. The
command line prints it without a traceback and exits with status 2 (``--debug`` shows the traceback).

A message calls an option ``--work-dir``, and its value ``--work-dir=PATH``. Who uses densekit from Python reads of the
argument, ``work_dir=PATH``; commands stand in backticks and are left as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_FLAG = re.compile(r"(`[^`]*`)|--cfg-options (['\"])(.*?)\2| \(--debug [^)]*\)|(?<![\w-])--([a-z]+(?:-[a-z]+)*)")
_at_command_line = False


@contextmanager
def command_line() -> Iterator[None]:
    """Whoever reads the messages meanwhile gave options on the command line."""
    global _at_command_line
    before, _at_command_line = _at_command_line, True
    try:
        yield
    finally:
        _at_command_line = before


def spoken(message: str) -> str:
    """A message in the words of its reader: of options on the command line, of arguments in Python."""
    if _at_command_line:
        return message
    return _FLAG.sub(lambda found: found[1] or found[3] or (found[4] or "").replace("-", "_"), message)


class DensekitError(Exception):
    """A problem in what the user gave: a file, an option, a config. The message carries the remedy."""

    exit_code = 2

    def __str__(self) -> str:
        return spoken(super().__str__())


class ConfigError(DensekitError):
    """A config or command-line option that cannot be right: unknown key or name, values that contradict each other."""


class DataError(DensekitError):
    """A data set, volume or label file that cannot be used as it is."""


class CheckpointError(DensekitError):
    """A weights file that cannot be read, or that belongs to another architecture."""


class OutputError(DensekitError):
    """A result that cannot be written: no permission, disk full, path in the way."""


def message_of(error: DensekitError) -> str:
    """The message of an error as it was raised.

    torch hands an error of a data-loading process on with that process's whole traceback as its message, of which the
    last line is the error's own.
    """
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


def kind_of(value: Any) -> str:
    """What was given in place of something else, in a word: its type, ``"None"`` of None."""
    return "None" if value is None else type(value).__name__


def few(items: Iterable[Any], limit: int = 8) -> str:
    """Join the first ``limit`` items with commas and count the rest."""
    names = [str(item) for item in items]
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def close_names(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the known names closest to ``name``, or ``""`` if none is close."""
    known = list(known)
    lowered = {k.lower(): k for k in known}
    found = [lowered[m] for m in difflib.get_close_matches(name.lower(), lowered, n=limit, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(f) for f in found)}?" if found else ""


def class_difference(one: Sequence[str], other: Sequence[str]) -> str:
    """What tells two lists of class names apart, in words: ``its classes ... , here ...`` or the first other place."""
    missing = [name for name in one if name not in other]
    new = [name for name in other if name not in one]
    if not missing and not new:
        place = next(n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        return f"its classes are in another order: label {place} is {one[place]!r}, here {other[place]!r}"
    parts = []
    for words, names in (("it has {}, which are not here", missing), ("it lacks {}", new)):
        if names:
            shown = few(map(repr, names), 4)
            parts.append(words.format(shown))
    return f"its {len(one)} classes are not the {len(other)} here: {'; '.join(parts)}"


def why_too_small(error: Exception) -> str | None:
    """What torch says of an image that is too small for a network, in one line; None if it is another error."""
    reason = " ".join(str(error).partition("\n")[0].split())
    return reason if _TOO_SMALL.search(reason) else None


_TOO_SMALL = re.compile(
    r"[Kk]ernel size.* can't be greater|more than 1 value per channel|[Oo]utput size is too small"
    r"|[Ss]izes of tensors must match except in dimension 1|size of tensor a .* must match .* dimension [2-4]"
)
"""What torch says where an image is too small, or of a side that a network cannot halve as often as it does."""
