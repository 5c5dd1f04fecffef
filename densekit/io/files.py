"""Files that hold no image and no volume, and folders in words."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from densekit.errors import CheckpointError, DataError, few


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without byte order mark.

    Raises:
        DataError: if it cannot be read, with the reason.
    """
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{path}: is UTF-16 text; save it as UTF-8")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{content[error.start]:02x} at {error.start}"
        raise DataError(f"{path}: is no text in UTF-8 ({wrong}); save it as UTF-8, or fetch it again") from error


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: if it cannot be read or is not JSON, with line and column.
    """
    text = read_text(path)
    start = text.lstrip()[:1]
    if start in ("", "<"):
        what = "is a web page or XML, not JSON" if start else "is empty"
        raise DataError(f"{path}: {what}; export or fetch the file again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); correct the file"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}: is nested too deeply for JSON; export the file again") from error


def require_checkpoint(path: Path) -> None:
    """Check by its first bytes that a file can be a checkpoint, for which torch need not be loaded.

    Raises:
        CheckpointError: if it is not there, or cannot be one.
    """
    if path.is_dir():
        there = [path / name for name in ("best.pth", "last.pth") if (path / name).is_file()]
        found = (
            f"the folder of a run; give the checkpoint in it, {there[0]}" if there else "a folder; give a checkpoint"
        )
        raise CheckpointError(f"{path}: is {found}")
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint file; `densekit train` writes best.pth and last.pth into its work folder"
        )
    with path.open("rb") as file:
        start = file.read(2)
    if start and start != b"PK" and start[:1] != b"\x80":  # neither torch's zip archive nor its older pickle
        raise CheckpointError(f"{path}: is no checkpoint, by its first bytes; give best.pth or last.pth of a training")


_SPECIAL = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}


def require_file(path: Path) -> None:
    """Check that there is a file that can be read, without opening it: a FIFO would block, a device may have no end.

    Raises:
        DataError: if there is not; of a link it says where that leads.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            where = "that leads back to itself" if error.errno == errno.ELOOP else "to what is not there"
            raise DataError(f"{path}: is a link {where} ({os.readlink(path)}); mend or remove it") from error  # noqa: PTH115
        if error.errno == errno.ENOENT:
            raise DataError(f"{path}: no such file; check the path") from error
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if kind != stat.S_IFREG:
        what = _SPECIAL.get(kind, "device")
        raise DataError(f"{path}: is a {what}, expected a file; give the file itself, or leave it out")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: cannot be read ({os.strerror(errno.EACCES)}); check the path and its permissions")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder.

    Raises:
        DataError: if it cannot be listed.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error


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
