"""Tables of what was predicted, as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from densekit.io import output_error


class TableFile:
    """A CSV file that is written row by row.

    Args:
        path: The file.
        header: Names of the columns.

    Raises:
        OutputError: from all that is done with it, if it cannot be written.
    """

    def __init__(self, path: Path, header: Sequence[str]):
        self.path = path
        with self._reporting():
            self._file = path.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self.write([header])

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows."""
        with self._reporting():
            self._table.writerows(rows)

    def close(self) -> None:
        """Finish the file."""
        with self._reporting():
            self._file.close()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise output_error(self.path.name, error) from error


def relative_names(paths: Sequence[Path]) -> list[str]:
    """Names of files relative to the deepest folder that holds them all, as POSIX paths."""
    resolved = [path.parent.resolve() / path.name for path in paths]
    try:
        root = Path(os.path.commonpath([path.parent for path in resolved]))
    except ValueError:  # several drives of Windows
        return [path.as_posix() for path in resolved]
    return [path.relative_to(root).as_posix() for path in resolved]
