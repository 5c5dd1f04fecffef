"""Reading a prepared data set, its cases as memory maps; :mod:`densekit.datasets.volume.store` writes it."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from densekit.datasets.shared.split_file import SPLIT_FILE, Splits
from densekit.datasets.volume.preprocessing import Box, Preprocessing, SpatialResult
from densekit.errors import ConfigError, DataError, close_names
from densekit.io import Geometry

FORMAT = 2
"""Version of ``dataset.json``."""

CASE_FORMAT = 3
"""Version of a case's files; part of its hash."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

UNREADABLE = (OSError, ValueError, LookupError, EOFError, SyntaxError, TokenError, BadZipFile, zlib.error)
UNREADABLE += (AttributeError, TypeError, OverflowError)
"""What comes of reading a damaged description or file of arrays."""

_MAPPED = ("image", "label", "foreground")


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A prepared case.

    The arrays are memory maps: reading a patch reads its own bytes from the disk, and processes that read the same case
    share them.

    Attributes:
        folder: Where it lies.
        id: Case id.
        sources: Absolute paths: ``{"images": [one per channel, None for one it lacks], "label": path or None}``.
        geometry: Grid of the source files.
        box: What was kept of the source volume along D, H, W; the rest was a constant border.
        shape_before: (D, H, W) of the source volume.
        shape: (d, h, w) of the stored arrays.
        spacing: (d, h, w) in mm.
        statistics: What :meth:`Preprocessing.normalize` needs to know of the whole scan.
        minimum: Smallest value of each channel: what a patch that leaves the volume is filled with.
        volumes_ml: Volume of each class on the source grid in ml; None without label.
        notes: What was assumed, repaired or is worth knowing.
        hash: Of the sources and settings it was made from.
        content: Hash of the scan as it was read, whatever files, settings and labels it comes with.
        patient: Whose scan it is; the case id where that is not known.
        classes: Class of the patient by name of what is told apart; without what is not known.
        meta: Meta-information by name, numbers or texts; without what is not known.
        boxes: float64 ``(N, 6)`` in voxels of the stored arrays (:mod:`densekit.ops.volume_boxes`); None: not known.
        box_labels: Class name of each box.
    """

    folder: Path
    id: str
    sources: dict[str, Any]
    geometry: Geometry
    box: Box
    shape_before: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    statistics: list[tuple[float, float]]
    minimum: list[float]
    volumes_ml: dict[str, float] | None
    notes: tuple[str, ...]
    hash: str
    content: str
    patient: str
    classes: Mapping[str, str]
    meta: Mapping[str, float | str]
    boxes: np.ndarray | None
    box_labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path, about: Mapping[str, Any]) -> StoredCase:
        """Read the description of a case.

        Args:
            folder: Where it lies.
            about: Its ``patient``, and ``classes`` and ``meta`` if it has any, which the data set knows.

        Raises:
            DataError: if it is not there or cannot be read.
        """
        try:
            return cls._from_description(folder, read_description(folder) or {}, about)
        except UNREADABLE as error:
            raise DataError(
                f"{folder}: holds no readable prepared case; `densekit prepare` again remakes it"
            ) from error

    @classmethod
    def _from_description(cls, folder: Path, values: Mapping[str, Any], about: Mapping[str, Any]) -> StoredCase:
        sources = values["sources"]
        images, files = sources["images"], [*sources["images"], sources["label"]]
        if len(images) != len(values["minimum"]) or not all(f is None or (f and isinstance(f, str)) for f in files):
            raise ValueError("sources are one file a channel, and the label's")
        volumes = values["volumes_ml"]
        return cls(
            folder=folder,
            id=values["id"],
            sources=sources,
            geometry=Geometry.from_dict(values["geometry"]),
            box=tuple(tuple(side) for side in values["box"]),
            shape_before=tuple(values["shape_before"]),
            shape=tuple(values["shape"]),
            spacing=tuple(values["spacing"]),
            statistics=[tuple(pair) for pair in values["statistics"]],
            minimum=values["minimum"],
            volumes_ml=None if volumes is None else {name: float(ml) for name, ml in volumes.items()},
            notes=tuple(values["notes"]),
            hash=values["hash"],
            content=values.get("content", ""),  # a case prepared before there was one is made anew next time only
            patient=about["patient"],
            classes=about.get("classes", {}),
            meta=about.get("meta", {}),
            boxes=np.array(values["boxes"], dtype=np.float64).reshape(-1, 6) if "boxes" in values else None,
            box_labels=tuple(values.get("box_labels", ())),
        )

    @property
    def channels_present(self) -> tuple[bool, ...]:
        """Whether the scan has each channel; one that it lacks is zero in the samples."""
        return tuple(path is not None for path in self.sources["images"])

    def image_files(self) -> list[Path | None]:
        """Return the source file of each channel, None for one that the scan lacks."""
        return [path and Path(path) for path in self.sources["images"]]

    @cached_property
    def image(self) -> np.ndarray:
        """``(C, d, h, w)``, int16, uint8 or float32 as a rule; read-only memory map, not normalised."""
        return self._load("image.npy")

    @cached_property
    def label(self) -> np.ndarray | None:
        """``(d, h, w)`` uint8 or uint16, read-only memory map; None for a scan without label."""
        return self._load("label.npy") if self.sources["label"] else None

    @cached_property
    def foreground(self) -> np.ndarray:
        """``(N, 4)`` int32: label, d, h, w of up to 10,000 voxels of each class, ordered by label."""
        return self._load("foreground.npy")

    def spatial(self, image: np.ndarray) -> SpatialResult:
        """What :meth:`Preprocessing.spatial` returned for this case, of its :attr:`image` or a copy in memory."""
        return SpatialResult(image, self.box, self.shape_before)

    def open_arrays(self) -> None:
        """Open the arrays; raises ``DataError`` if one is gone, cut off, or damaged in its header."""
        for name in _MAPPED:
            getattr(self, name)

    def _load(self, name: str) -> np.ndarray:
        try:
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except UNREADABLE as error:
            raise DataError(
                f"{self.folder / name}: cannot be read ({error}); run `densekit prepare` again, it remakes the case"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        # a memory map would travel to a worker process as a copy of the array
        return {name: value for name, value in self.__dict__.items() if name not in _MAPPED}


@dataclass(frozen=True, eq=False)
class Store:
    """A prepared data set.

    Attributes:
        path: Its folder.
        name: Of the data set.
        layout: Raw layout it was made from.
        channels: Name of each image channel.
        labels: Class names by label value; ``labels[0]`` is ``"background"``.
        scored: Names of the classes that enter the mean score.
        mirror_pairs: Names of classes that change places in a left-right mirror.
        convention: Default empty-mask convention of the evaluation.
        splits: Case ids of ``"train"``, ``"val"``, ``"test"`` and what else the file of splits names; of the fold
            that the data set was opened for, if it was for one.
        preprocessing: How the scans were and are made into network input.
        fingerprint: Contents of ``fingerprint.json``.
        notes: What the reader of the raw layout had to say.
        remap: Label value of the source files -> stored value; None: the same.
        about: Of every case ``patient``, and ``classes`` and ``meta`` if it has any.
        classes: The classes of patients, in the order of their indices, by name of what is told apart.
        meta: The columns of meta-information, each with its texts in the order of their indices; None for numbers.
        box_classes: Class names of boxes in the order of their labels; none if no case has boxes.
        fold: The fold that the data set was opened for; None: the named splits.
        folds: Number of folds there are.
    """

    path: Path
    name: str
    layout: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    scored: tuple[str, ...]
    mirror_pairs: tuple[tuple[str, str], ...]
    convention: str
    splits: dict[str, list[str]]
    preprocessing: Preprocessing
    fingerprint: dict[str, Any]
    notes: tuple[str, ...] = ()
    remap: dict[int, int] | None = None
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    meta: dict[str, list[str] | None] = field(default_factory=dict)
    box_classes: tuple[str, ...] = ()
    fold: int | None = None
    folds: int = 0
    _cases: dict[str, StoredCase] = field(default_factory=dict, init=False, repr=False)

    def ids(self, split: str) -> list[str]:
        """Return the case ids of a split, or of several joined by ``+`` (``"train+val"``).

        Raises:
            ConfigError: for a name that is not a split.
        """
        ids = []
        for name in split.split("+"):
            if name not in self.splits:
                sizes = ", ".join(f"{known}: {len(members)}" for known, members in self.splits.items())
                raise ConfigError(f"{self.path}: no split {name!r}{close_names(name, self.splits)} (it has {sizes})")
            ids += self.splits[name]
        return ids

    def case(self, case_id: str) -> StoredCase:
        """Return a case by its id.

        Raises:
            ConfigError: if there is none of that id.
            DataError: if its description cannot be read.
        """
        if case_id not in self._cases:
            if case_id not in self.about:
                raise ConfigError(f"{self.path}: no case {case_id!r}{close_names(case_id, self.about)}")
            self._cases[case_id] = StoredCase.read(case_folder(self.path, case_id), self.about[case_id])
        return self._cases[case_id]

    def hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Hash of what each of some cases shows, by its id."""
        contents = {case_id: self.case(case_id).content for case_id in ids}
        return {case_id: content for case_id, content in contents.items() if content}

    def read_reference(self, case_id: str) -> np.ndarray:
        """Read the label map of a case as it was before preprocessing, with this data set's label values.

        Returns:
            ``(D, H, W)`` uint8 or uint16 on the canonical grid of the source.

        Raises:
            DataError: if the case has no label, or its file cannot be read.
        """
        case = self.case(case_id)
        if not case.sources["label"]:
            raise DataError(f"{self.path}: case {case_id} has no label to compare with")
        path = case.folder / "reference.npz"
        try:
            with np.load(path) as content:
                return content["labels"]
        except UNREADABLE as error:
            raise DataError(
                f"{path}: cannot be read ({error}); run `densekit prepare` again, it keeps the rest"
            ) from error


def open_store(path: str | Path, fold: int | None = None) -> Store:
    """Open a prepared folder.

    Args:
        path: The folder.
        fold: Fold that is trained and validated, in place of the splits named ``train`` and ``val``.

    Raises:
        ConfigError: for a fold that is not there.
        DataError: if it is not there, was not finished, was made by another version, or its splits are wrong.
    """
    path = Path(path)
    store, splits, problems = read_store(path)
    if problems:
        more = f" (and {len(problems) - 1} more: `densekit check {path}` lists them)" if len(problems) > 1 else ""
        raise DataError(f"{path / SPLIT_FILE}: {problems[0]}{more}")
    return replace(store, splits=splits.of(fold), fold=fold)


def read_store(path: Path) -> tuple[Store, Splits, list[str]]:
    """Open a prepared folder whatever its splits are.

    Returns:
        The data set with its named splits, what the file of splits holds, and what is wrong with that.

    Raises:
        DataError: if it is not there, was not finished, or was made by another version.
    """
    if not (path / "dataset.json").is_file():
        raise DataError(_why_not_prepared(path))
    try:
        values = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        fingerprint = json.loads((path / "fingerprint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `densekit prepare` on the same folder again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(
            f"{path / 'dataset.json'}: was not written by this version of densekit, or is another program's; give "
            f"another folder, or run `densekit prepare` on this one again (it keeps the cases that are there)"
        )
    if not (path / SPLIT_FILE).is_file():
        raise DataError(f"{path / SPLIT_FILE}: is gone; run `densekit prepare` again, it writes it and keeps the cases")
    splits = Splits.read(path / SPLIT_FILE)
    try:
        store = _opened(path, values, fingerprint, splits)
        problems = splits.problems({case_id: about["patient"] for case_id, about in store.about.items()})
    except UNREADABLE as error:
        raise DataError(
            f"{path / 'dataset.json'}: is damaged or was changed ({error!r}); run the same `densekit prepare` command "
            f"again, it writes it and keeps the cases"
        ) from error
    return store, splits, problems


def _opened(path: Path, values: Mapping[str, Any], fingerprint: dict[str, Any], splits: Splits) -> Store:
    ids = list(values["cases"])
    gone = [case_id for case_id in ids if not (case_folder(path, case_id) / "case.json").is_file()]
    if gone:
        raise DataError(
            f"{path}: {len(gone)} of its {len(ids)} cases are gone ({', '.join(gone[:5])}); run the same "
            f"`densekit prepare` command again, it remakes what is missing"
        )
    if not all(isinstance(name, str) for name in (*values["labels"], *values["scored"])):
        raise TypeError("names of labels are text")
    return Store(
        path=path,
        name=values["name"],
        layout=values["layout"],
        channels=tuple(values["preprocessing"]["channels"]),
        labels=tuple(values["labels"]),
        scored=tuple(values["scored"]),
        mirror_pairs=tuple(tuple(pair) for pair in values["mirror_pairs"]),
        convention=values["convention"],
        splits=splits.splits,
        preprocessing=Preprocessing.from_dict(values["preprocessing"]),
        fingerprint=fingerprint,
        notes=tuple(values["notes"]),
        remap=None if values["remap"] is None else {int(raw): stored for raw, stored in values["remap"].items()},
        about=values["cases"],
        classes=values["classes"],
        meta=values["meta"],
        box_classes=tuple(values.get("box_classes", ())),
        folds=len(splits.folds),
    )


def case_folder(path: Path, case_id: str) -> Path:
    """Return where a case of the store at ``path`` lies.

    Of an id that not every file system takes the folder's name has what is left, and a hash: no two cases share one.
    """
    if _PLAIN_ID.fullmatch(case_id):
        return path / "cases" / case_id
    digest = hashlib.blake2b(case_id.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    return path / "cases" / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', case_id)[:60].strip('_-') or 'case'}-{digest}"


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return the contents of a case's ``case.json``, None if it is not there or not readable."""
    try:
        values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _why_not_prepared(path: Path) -> str:
    cases = [folder for folder in path.glob("cases/*") if not folder.name.startswith(".")]
    if cases:
        return (
            f"{path}: was not prepared to the end ({len(cases)} cases are there); run the same `densekit prepare` "
            f"command again, it goes on where it stopped"
        )
    return (
        f"{path}: {'is not a prepared folder' if path.exists() else 'no such folder'}; get the raw data "
        f"(data/README.md says where) and run `densekit prepare KIND RAW {path}` with KIND one of synapse, acdc, msd, "
        f"nnunet, folder; to try without data, make phantoms with `densekit prepare phantom RAW`"
    )
