"""Outputs appear by rename: whoever looks sees the old file or the whole new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densekit.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another output folder",
    errno.EDQUOT: "free some space or choose another output folder",
    errno.EFBIG: "choose an output folder on a file system that takes files of this size",
    errno.EACCES: "choose an output folder that you may write to",
    errno.EPERM: "choose an output folder that you may write to",
    errno.EROFS: "choose an output folder that you may write to",
    errno.ENOTDIR: "a part of this path is a file: choose another output path",
    errno.EEXIST: "a file of that name is in the way: choose another output path",
    errno.ENAMETOOLONG: "choose a shorter output name",
}


def output_error(path: str | os.PathLike, error: OSError) -> OutputError:
    """Return the one-line error that says why ``path`` cannot be written and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno, "check the output folder or choose another one")
    return OutputError(f"{path}: cannot be written ({reason}); {remedy}")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write one file to, and rename it to ``path`` when the block ends well.

    The temporary file lies in the same folder (made if it is missing), is hidden (leading dot) and has the same
    suffixes, so that writers which look at ``.nii.gz`` choose the same format. If the block raises anything, Ctrl-C
    included, the temporary file is removed and what stood at ``path`` before stays as it was.

    Args:
        path: The file to write. An existing file is replaced; a symbolic link is followed.

    Yields:
        Path of the temporary file, which does not exist yet.

    Raises:
        OutputError: if the file cannot be written (no permission, disk full, a folder or device in the way). An
            ``OSError`` about another file, raised inside the block, passes as it is.
    """
    shown = path
    path = Path(path)
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        # A rename would put a plain file where a device or pipe stood: /dev/null, when run as root.
        in_the_way = path.exists() and not path.is_file()
    except OSError as error:
        raise output_error(shown, error) from error
    if in_the_way:
        kind = "folder" if path.is_dir() else "device or pipe"
        raise OutputError(f"{shown}: cannot be written, there is a {kind} of that name; choose another output path")
    # A short name of its own: a long final name plus a suffix could pass the 255 bytes that file systems allow.
    temporary = path.with_name(f".densekit-{secrets.token_hex(6)}{''.join(path.suffixes[-2:])}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None or Path(error.filename).name == temporary.name:
            raise output_error(shown, error) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # after the rename there is nothing left to remove
            temporary.unlink()


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` by rename.

    Raises:
        OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json_atomic(path: str | os.PathLike, value: Any, *, indent: int | None = 2) -> None:
    """Write ``value`` as JSON to ``path`` by rename.

    Args:
        path: The file to write.
        value: Plain JSON types. NaN and infinity are refused (other readers of JSON do not take them): store None.
        indent: Spaces per level; None writes one line.

    Raises:
        OutputError: if the file cannot be written.
        TypeError, ValueError: if ``value`` is not JSON; nothing is written then.
    """
    write_text_atomic(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")
