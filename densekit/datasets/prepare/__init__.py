"""Raw downloads in, :class:`SourceDataset` out: which files make a case, who trains, what the labels are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from densekit.datasets.prepare.acdc import read_acdc
from densekit.datasets.prepare.folder import read_folder
from densekit.datasets.prepare.msd import read_dataset_json
from densekit.datasets.prepare.phantom import make_phantoms
from densekit.datasets.prepare.source import CaseSource, SourceDataset
from densekit.datasets.prepare.synapse import read_synapse
from densekit.errors import ConfigError, close_names

__all__ = ["KINDS", "CaseSource", "Kind", "SourceDataset", "make_phantoms", "read_source"]


class Kind(NamedTuple):
    """A kind of data set that ``densekit prepare`` takes.

    Attributes:
        read: The reader; its keyword-only arguments (but ``work``) are the kind's options.
        description: One line for the help.
        layouts: The layouts it recognises, in words.
    """

    read: Callable[..., SourceDataset]
    description: str
    layouts: str

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that the reader takes."""
        parameters = inspect.signature(self.read).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "work")


KINDS: dict[str, Kind] = {
    "synapse": Kind(
        read_synapse,
        "Synapse/BTCV abdominal CT, 18/12 split, 13 or 8 organs",
        "raw BTCV (RawData), MONAI, nnFormer, nnU-Net, TransUNet (train_npz, test_vol_h5)",
    ),
    "acdc": Kind(
        read_acdc,
        "ACDC cardiac MRI, nnFormer's split by patient",
        "raw (training/patient001), nnFormer (imagesTr, labelsTr)",
    ),
    "msd": Kind(
        read_dataset_json,
        "a task of the Medical Segmentation Decathlon",
        "dataset.json with imagesTr, labelsTr; 4D images are split into channels",
    ),
    "nnunet": Kind(
        read_dataset_json,
        "nnU-Net raw data, version 1 or 2",
        "dataset.json with imagesTr/CASE_0000, labelsTr/CASE",
    ),
    "folder": Kind(
        read_folder,
        "one's own image/label pairs",
        "images + labels or imagesTr + labelsTr, same file names",
    ),
}


def read_source(kind: str, path: Path, *, work: Path, **options) -> SourceDataset:
    """Read a raw data set.

    Args:
        kind: A key of ``KINDS``.
        path: Where the data set lies.
        work: Folder for volumes that have to be rebuilt first (TransUNet's slices, 4D images): they go to its
            folder ``converted``. They are the sources of the prepared cases: keep them until the store is written.
        **options: The options of the kind's reader (``KINDS[kind].options``); None stands for the reader's default.

    Raises:
        ConfigError: for an unknown kind or option.
        DataError: for data that cannot be used as they are.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is not one of {', '.join(KINDS)}{close_names(kind, KINDS)}")
    known = KINDS[kind].options
    for name in options:
        if name not in known:
            raise ConfigError(
                f"option {name!r} is not one of {kind}'s: {', '.join(known) or 'it has none'}{close_names(name, known)}"
            )
    given = {name: value for name, value in options.items() if value is not None}
    if "work" in inspect.signature(KINDS[kind].read).parameters:
        given["work"] = Path(work)
    return KINDS[kind].read(Path(path), **given)
