"""Class names that are one and the same although they are spelt differently: by case, spaces, hyphens, underscores."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from densekit.errors import few

# Between a letter and a letter or digit; "grade-" is not "grade", and "1-2" is not "12".
_SEPARATORS = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W\d_])|(?<=[^\W\d_])[\s_-]+(?=\d)")


def spelling(name: str) -> str:
    """Return what spellings of a name have in common: its letters and digits in lower case, without separators."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFC", name).casefold().strip())


def by_name(wanted: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Return for each of the given names the wanted one that it stands for; those that stand for none are not there.

    A name stands for itself; else for the one name of its spelling, if on both sides only one of it is left over.
    """
    left = Counter(spelling(name) for name in given if name not in wanted)
    free = [name for name in wanted if name not in given]
    count, by_spelling = Counter(map(spelling, free)), {spelling(name): name for name in free}
    found = {}
    for name in given:
        form = spelling(name)
        if name in wanted:
            found[name] = name
        elif left[form] == count[form] == 1:
            found[name] = by_spelling[form]
    return found


def respelt(matched: dict[str, str]) -> str:
    """Return in words which names were matched although they are spelt differently, "" if none was."""
    pairs = [f"{name!r} is {meant!r}" for name, meant in matched.items() if name != meant]
    return f"class names are spelt differently, taken as one: {few(pairs, 4)}" if pairs else ""
