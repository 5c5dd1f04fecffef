"""What every reader of a raw layout needs from the file system: listings, JSON, messages that say what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from densekit.errors import DataError
from densekit.io import volume_stem, volume_suffix


def list_volumes(folder: Path) -> dict[str, Path]:
    """Return the volumes of ``folder`` by stem, sorted; an absent folder holds none.

    Names that begin with a dot are skipped: the Decathlon's archives carry macOS's ``._name.nii.gz`` beside each
    volume.

    Raises:
        DataError: if two files share a stem (``a.nii`` and ``a.nii.gz``): which one is meant cannot be known.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if volume_suffix(path) is None or path.name.startswith(".") or path.is_dir():
            continue
        stem = volume_stem(path)
        if stem in found:
            raise DataError(
                f"{folder}: {found[stem].name} and {path.name} are two files for one volume; remove one of them"
            )
        found[stem] = path
    return found


def few(items: Iterable[Any], limit: int = 8) -> str:
    """Join the first ``limit`` items with commas and count the rest."""
    names = [str(item) for item in items]
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def contents(folder: Path) -> str:
    """Say in words what a folder holds, for an error that could not find what it looked for."""
    if not folder.is_dir():
        return "is not a folder"
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if not p.name.startswith("."))
    return f"holds {few(names, 6)}" if names else "is empty"


def require_folder(path: Path, remedy: str) -> Path:
    """Return ``path`` if it is a folder.

    Raises:
        DataError: if it does not exist or is a file; ``remedy`` (how to get or lay out the data) ends the message.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return path
    what = "is a file, a folder was expected" if path.exists() else "no such folder"
    raise DataError(f"{path}: {what}; {remedy}")


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: if it cannot be read or is not JSON, with line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); correct the file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); check the file") from error
