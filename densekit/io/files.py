"""Files that hold no image and no volume, and folders in words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from densekit.errors import DataError, few


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


def contents(folder: Path) -> str:
    """Say in words what a folder holds, for an error that could not find what it looked for."""
    if not folder.is_dir():
        return "is not a folder"
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if not p.name.startswith("."))
    return f"holds {few(names, 6)}" if names else "is empty"


def sha256(path: Path) -> str:
    """Hash a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()
