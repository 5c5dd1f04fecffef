"""Whether a path holds volumes, found out at a glance."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path

from densekit.io import volume_suffix

_DEPTH = 2
_LOOKED_AT = 1000
"""Entries of a folder, at most: one of images may have more than a hundred thousand."""


def holds_volumes(path: Path) -> bool:
    """Whether a path is a volume, a prepared data set (one that was not finished included), or a folder with volumes
    in it or at most two folders down."""
    if not path.is_dir():
        return volume_suffix(path) is not None
    return _is_prepared(path) or next(path.glob("cases/*/case.json"), None) is not None or _finds_one(path, _DEPTH)


def _is_prepared(path: Path) -> bool:
    """Whether its ``dataset.json`` is ours, of whatever version; other programs and layouts have files of that name."""
    try:
        values = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and isinstance(values.get("format"), int)


def _finds_one(path: Path, depth: int) -> bool:
    try:
        with os.scandir(path) as found:
            entries = [entry for entry in islice(found, _LOOKED_AT) if not entry.name.startswith(".")]
    except OSError:  # not ours to read
        return False
    if any(volume_suffix(entry.name) and entry.is_file() for entry in entries):
        return True
    return depth > 0 and any(_finds_one(Path(entry), depth - 1) for entry in entries if entry.is_dir())
