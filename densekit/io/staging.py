"""A folder to make outputs in, from which they are published by rename once they are whole."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from densekit.errors import DensekitError
from densekit.io.atomic import output_error


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent``, gone afterwards whatever happens: outputs are made there and published when whole.

    Raises:
        OutputError: if it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".densekit-", dir=parent))
    except OSError as error:
        raise output_error(parent, error) from error
    try:
        yield folder
    except DensekitError as error:  # the user knows nothing of the hidden folder
        error.args = (str(error).replace(str(folder), str(parent)),)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, *, last: str) -> None:
    """Rename all files of a staging folder into ``target``, the one named ``last`` after the others.

    Raises:
        OutputError: if a file cannot be renamed.
    """
    try:
        for file in sorted(folder.iterdir(), key=lambda f: f.name == last):
            file.replace(target / file.name)
    except OSError as error:
        raise output_error(target, error) from error


def score_folder(out: str | Path | None, checkpoint: str | Path, split: str) -> Path:
    """Return the folder for the scores of a checkpoint on a split, made and seen to take files.

    Args:
        out: The folder asked for; None: ``test_<checkpoint>_<split>`` beside it, so that what its training left stays.
        checkpoint: The file that is scored.
        split: What it is scored on.

    Raises:
        OutputError: if the folder cannot be written.
    """
    folder = Path(out) if out else Path(checkpoint).parent / f"test_{Path(checkpoint).stem}_{split}"
    with staging_folder(folder):
        return folder
