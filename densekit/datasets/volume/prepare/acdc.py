"""ACDC: cardiac cine MRI of 100 labelled patients, two frames each, under nnFormer's split by patient."""

from __future__ import annotations

import re
from pathlib import Path

from densekit.datasets.volume.prepare.files import list_volumes, require_folder
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.errors import DataError, few
from densekit.io.files import contents

TEST_PATIENTS = frozenset((2, 3, 8, 9, 12, 14, 17, 24, 42, 48, 49, 53, 55, 64, 67, 79, 81, 88, 92, 95))
VALIDATION_PATIENTS = frozenset((89, 90, 91, 93, 94, 96, 97, 98, 99, 100))
PATIENTS = range(1, 101)
LABELS = ("background", "RV", "Myo", "LV")
SPACING = (6.35, 1.52, 1.52)

HOW_TO_GET = (
    "get ACDC from its challenge page (creatis.insa-lyon.fr/Challenge/acdc), unpack it to "
    "training/patient001/{Info.cfg,patient001_frame01.nii.gz,patient001_frame01_gt.nii.gz} ..., and run "
    "`densekit prepare acdc PATH OUT`"
)
_FRAME = re.compile(r"(patient\d{3}_frame\d{2})(_0000)?")

Pairs = dict[str, tuple[Path, Path]]


def read_acdc(path: Path) -> SourceDataset:
    """Read ACDC in its raw layout (``training/patient001/...``) or nnFormer's (``imagesTr``, ``labelsTr``).

    Each labelled frame (end diastole, end systole) is one case; the split is by patient, never by frame: 70 train, 10
    validate, 20 test.

    Args:
        path: The data set's folder, or the one above it; for the raw layout also its ``training``.

    Raises:
        DataError: if no layout is recognised, a frame has no label, or the folder holds preprocessed 2D files.
    """
    path = require_folder(path, HOW_TO_GET)
    for root in (path, *sorted(p for p in path.iterdir() if p.is_dir())):
        _refuse_slices(root)
        if (root / "imagesTr").is_dir():
            layout, (pairs, notes) = "nnformer", _nnformer_pairs(root)
            break
        training = root / "training" if (root / "training").is_dir() else root
        if patients := _patient_folders(training):
            layout, (pairs, notes) = "raw", _raw_pairs(patients)
            break
    else:
        raise DataError(
            f"{path}: no layout of ACDC recognised; looked for training/patient001 (raw) and imagesTr + labelsTr "
            f"(nnFormer), {path.name} {contents(path)}; {HOW_TO_GET}"
        )
    if layout == "raw" and (others := _patient_folders(training.parent / "testing")):
        notes.append(
            f"testing: {len(others)} patient(s) ignored, the split of the literature is of patients 001 to 100"
        )
    return SourceDataset(
        name="acdc",
        layout=layout,
        channels=("MR",),
        labels=LABELS,
        cases=tuple(_cases(pairs, path, notes)),
        normalization="zscore",
        spacing=SPACING,
        convention="nnformer",
        notes=tuple(notes),
    )


def _cases(pairs: Pairs, path: Path, notes: list[str]) -> list[CaseSource]:
    """Split the frames by patient and say what is missing or left out."""
    cases = []
    for case, (image, label) in sorted(pairs.items()):
        patient = _number(case)
        if patient in PATIENTS:
            split = "test" if patient in TEST_PATIENTS else "val" if patient in VALIDATION_PATIENTS else "train"
            cases.append(CaseSource(case, (image,), label, split, patient=case[: len("patient000")]))
    present = {_number(case) for case in pairs}
    if foreign := sorted(present - set(PATIENTS)):
        notes.append(f"patients {few(foreign)} ignored, the split of the literature is of patients 001 to 100")
    if missing := [f"{p:03d}" for p in PATIENTS if p not in present]:
        notes.append(f"{len(missing)} of the 100 patients are missing: {few(missing)}")
    if not cases:
        raise DataError(f"{path}: no labelled frame of patients 001 to 100; {HOW_TO_GET}")
    notes.append("split by patient after nnFormer: 70 train, 10 validation (089-091, 093, 094, 096-100), 20 test")
    return cases


def _number(case: str) -> int:
    return int(case[len("patient") :][:3])


def _patient_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and re.fullmatch(r"patient\d{3}", p.name))


def _refuse_slices(root: Path) -> None:
    for folder in (root, root / "train"):
        if any(p.suffix in (".npz", ".h5") for p in (folder.iterdir() if folder.is_dir() else ())):
            raise DataError(
                f"{folder}: holds preprocessed 2D slices, from which volumes and spacing cannot be had; give the raw "
                f"data set: {HOW_TO_GET}"
            )


def _raw_pairs(patients: list[Path]) -> tuple[Pairs, list[str]]:
    pairs: Pairs = {}
    guessed = []
    for folder in patients:
        files = list_volumes(folder)
        frames = _frames_of_info(folder / "Info.cfg")
        if frames is None:
            guessed.append(folder.name)
            frames = sorted(int(stem[-5:-3]) for stem in files if re.fullmatch(r".*_frame\d{2}_gt", stem))
        for frame in frames:
            case = f"{folder.name}_frame{frame:02d}"
            for stem, what in ((case, "image"), (f"{case}_gt", "label")):
                if stem not in files:
                    raise DataError(
                        f"{folder}: no {what} {stem}.nii.gz, though Info.cfg or its counterpart names frame {frame}; "
                        f"fetch the patient's folder again, or take it away to do without the patient"
                    )
            pairs[case] = (files[case], files[f"{case}_gt"])
    notes = []
    if guessed:
        notes.append(f"ED and ES of {few(guessed, 4)} taken from the names of the labels: no Info.cfg that gives them")
    return pairs, notes


def _frames_of_info(path: Path) -> list[int] | None:
    """Return the frame numbers ED and ES, None if the file is absent or does not give both."""
    if not path.is_file():
        return None
    entries = dict(
        re.findall(r"^[ \t]*(ED|ES)[ \t]*:[ \t]*(\d+)[ \t]*\r?$", path.read_text(errors="replace"), flags=re.MULTILINE)
    )
    return [int(entries["ED"]), int(entries["ES"])] if len(entries) == 2 else None


def _nnformer_pairs(root: Path) -> tuple[Pairs, list[str]]:
    """Pair ``imagesTr`` and ``imagesTs`` with their labels, with or without the suffixes ``_0000`` and ``_gt``."""
    pairs: Pairs = {}
    notes = []
    for part in ("Tr", "Ts"):
        images = {m[1]: p for stem, p in list_volumes(root / f"images{part}").items() if (m := _FRAME.fullmatch(stem))}
        labels = {stem.removesuffix("_gt"): p for stem, p in list_volumes(root / f"labels{part}").items()}
        bare = sorted(images.keys() - labels.keys() - pairs.keys())
        if bare and part == "Tr":
            raise DataError(
                f"{images[bare[0]]}: no label for it in {root / 'labelsTr'} ({len(bare)} image(s) lack one); put "
                f"{bare[0]}_gt.nii.gz there, or take the image away to do without the frame"
            )
        if bare:
            notes.append(f"imagesTs: {len(bare)} image(s) without label are not included: {few(bare, 3)}")
        if orphans := sorted(labels.keys() - images.keys() - pairs.keys()):
            notes.append(f"labels without an image in images{part}, left out: {few(orphans, 4)}")
        pairs |= {case: (images[case], labels[case]) for case in images.keys() & labels.keys() - pairs.keys()}
    return pairs, notes
