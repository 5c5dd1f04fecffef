"""Raw downloads in, :class:`SourceDataset` out: which files make a case, who trains, what the labels are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from densekit.datasets.volume.prepare.acdc import read_acdc
from densekit.datasets.volume.prepare.folder import read_folder
from densekit.datasets.volume.prepare.msd import read_dataset_json
from densekit.datasets.volume.prepare.phantom import make_phantoms
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.prepare.synapse import read_synapse
from densekit.errors import ConfigError, close_names

__all__ = ["KINDS", "CaseSource", "SourceDataset", "make_phantoms", "options_of", "read_source"]


KINDS: dict[str, Callable[..., SourceDataset]] = {
    "synapse": read_synapse,
    "acdc": read_acdc,
    "msd": read_dataset_json,
    "nnunet": read_dataset_json,
    "folder": read_folder,
}
"""Kind of data set that ``densekit prepare`` takes -> its reader."""


def options_of(kind: str) -> tuple[str, ...]:
    """The options of a kind: its reader's keyword-only arguments, but ``work``."""
    parameters = inspect.signature(KINDS[kind]).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "work")


def read_source(kind: str, path: Path, *, work: Path, **options) -> SourceDataset:
    """Read a raw data set.

    Args:
        kind: A key of ``KINDS``.
        path: Where the data set lies.
        work: Folder for volumes that have to be rebuilt first (TransUNet's slices, 4D images): they go to its
            folder ``converted``. They are the sources of the prepared cases: keep them until the store is written.
        **options: The options of the kind's reader (:func:`options_of`); None stands for the reader's default.

    Raises:
        ConfigError: for an unknown kind or option.
        DataError: for data that cannot be used as they are.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is not one of {', '.join(KINDS)}{close_names(kind, KINDS)}")
    known = options_of(kind)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"option {name!r} is not one of {kind}'s: {', '.join(known) or 'it has none'}{close_names(name, known)}"
            )
    given = {name: value for name, value in options.items() if value is not None}
    if "work" in inspect.signature(KINDS[kind]).parameters:
        given["work"] = Path(work)
    return KINDS[kind](Path(path), **given)
