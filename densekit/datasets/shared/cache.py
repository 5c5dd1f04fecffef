"""Where what is known of a data set is kept until a file of it changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from densekit.errors import OutputError

AUTO = "auto"


def cache_folder(cache: str | Path, kind: str, name: str, key: str) -> Path:
    """Return the folder in which a data set is kept.

    Args:
        cache: Folder of all; ``"auto"``: ``$XDG_CACHE_HOME/densekit`` or ``~/.cache/densekit``, and in it one by kind.
        kind: ``"detection"``, ``"segmentation"``.
        name: Of the data set.
        key: Tells it apart from others of this name.
    """
    if cache == AUTO:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "densekit" / kind
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    return Path(cache) / f"{name}-{digest}"


@contextmanager
def writing_cache() -> Iterator[None]:
    """Let the error of a file that cannot be written say how to have the cache elsewhere."""
    try:
        yield
    except OutputError as error:
        what = str(error).rpartition("; ")[0]
        remedy = "set the environment variable XDG_CACHE_HOME to a folder that you may write to"
        raise OutputError(f"{what}, the cache of data sets is kept there; {remedy}") from error
