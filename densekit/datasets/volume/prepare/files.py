"""What every reader of a raw layout needs from the file system."""

from __future__ import annotations

from pathlib import Path

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
        if volume_suffix(path) is None or path.name.startswith("."):
            continue
        stem = volume_stem(path)
        if stem in found:
            raise DataError(
                f"{folder}: {found[stem].name} and {path.name} are two files for one volume; remove one of them"
            )
        found[stem] = path
    return found


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
