"""Synapse: the 30 labelled abdominal CTs of BTCV under the 18/12 split of the literature (TransUNet's).

Whatever layout the files are in (raw download, MONAI, nnFormer, nnU-Net, TransUNet), the cases are known by their four
digits and the split follows from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from densekit.datasets.volume.prepare import transunet
from densekit.datasets.volume.prepare.encodings import (
    BTCV_LABELS,
    SYNAPSE_ORGANS,
    LabelSummary,
    check_encoding,
    remap_table,
)
from densekit.datasets.volume.prepare.files import list_volumes, require_folder
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.errors import ConfigError, DataError, few
from densekit.io import contents, read_label

TEST_CASES = ("0001", "0002", "0003", "0004", "0008", "0022", "0025", "0029", "0032", "0035", "0036", "0038")

# In the order in which they become validation cases: first three that differ in thickness and slice count (148, 89 and
# 195 slices), so that a validation of three sees both ends of the data; the others as their ids come.
TRAINING_CASES = ("0010", "0028", "0040") + (
    *("0005", "0006", "0007", "0009", "0021", "0023", "0024", "0026", "0027", "0030", "0031", "0033", "0034"),
    *("0037", "0039"),
)
"""The 18 training cases; the first ``val_cases`` of them validate."""

VALIDATING = 3
"""How many of them validate unless told otherwise."""

SPACING = (3.0, 0.76, 0.76)
MIRROR_PAIRS = (("left kidney", "right kidney"),)
ADRENAL_PAIR = (("left adrenal gland", "right adrenal gland"),)

HOW_TO_GET = (
    'get the abdomen data of "Multi-Atlas Labeling Beyond the Cranial Vault" (register at www.synapse.org, project '
    "syn3193805, file Abdomen/RawData.zip), unpack it to RawData/Training/img/img0001.nii.gz and "
    "RawData/Training/label/label0001.nii.gz, and run `densekit prepare synapse PATH/RawData OUT`"
)
_LOOKED_FOR = (
    "RawData/Training/{img,label} (BTCV), imagesTr + labelsTr (MONAI, nnFormer, nnU-Net), "
    "train_npz or test_vol_h5 (TransUNet)"
)


def read_synapse(
    path: Path,
    *,
    work: Path,
    encoding: str | None = None,
    classes: int | None = None,
    val_cases: int | Sequence[str | int] = VALIDATING,
) -> SourceDataset:
    """Read Synapse in any of its layouts (raw BTCV, MONAI, nnFormer, nnU-Net, TransUNet), recognised from the folder.

    Test are the 12 cases of the literature. Validation is a part of the 18 training cases, never of the test cases:
    choosing a checkpoint by the test cases would make their score meaningless.

    Args:
        path: The data set's folder, or one or two levels above it; for raw BTCV also its ``Training``.
        work: The NIfTI volumes into which TransUNet's files are converted go to ``converted`` in it.
        encoding: ``"raw"``, ``"transunet"``, ``"packed"`` or ``"cascade"`` (``encodings.ENCODINGS``); checked against
            the labels. None: ``"raw"`` for NIfTI layouts; TransUNet files need it said.
        classes: 13 (all organs under their raw ids, 8 of them scored) or 8 (ids 1 to 8 in the order of
            ``SYNAPSE_ORGANS``). None: 13 for raw labels, otherwise 8.
        val_cases: How many of ``TRAINING_CASES`` validate (0: all 18 train), or which.

    Returns:
        The data set. Spacing (3, 0.76, 0.76) mm and nnFormer's empty-mask convention for NIfTI layouts; no resampling
        and TransUNet's convention for TransUNet files, which carry no spacing.

    Raises:
        DataError: if nothing is found, an image has no label, or the labels contradict ``encoding``.
        ConfigError: for options that cannot be.
    """
    validation = _validation_ids(val_cases)
    root, layout = find_layout(require_folder(path, HOW_TO_GET))
    if encoding is None:
        if layout == "transunet":
            raise ConfigError(
                f"{root}: TransUNet files do not say which label is which organ; pass encoding='transunet' (files of "
                f"TransUNet's authors), 'packed' or 'cascade' (files made by other scripts); the choice is checked"
            )
        encoding = "raw"
    if classes is None:
        classes = 13 if encoding == "raw" else 8
    remap = remap_table(encoding, classes)
    notes = [f"validation: {few(validation, 18) or 'none'}; test: the 12 cases of the 18/12 split"]
    if layout == "transunet":
        files, found = transunet.convert(root, work, encoding)
        notes += found
    else:
        files, found = _pair_nifti(root, layout)
        summaries = (LabelSummary.of(read_label(label).array[0]) for _, label in files.values())
        notes += [*found, check_encoding(encoding, summaries, root)]
    _require_known(files, root)
    notes += _missing(files)
    cases = [
        CaseSource(case, (image,), label, "test" if case in TEST_CASES else "val" if case in validation else "train")
        for case, (image, label) in sorted(files.items())
    ]
    return SourceDataset(
        name="synapse",
        layout=layout,
        channels=("CT",),
        labels=BTCV_LABELS if classes == 13 else ("background", *SYNAPSE_ORGANS),
        cases=tuple(cases),
        scored=SYNAPSE_ORGANS,
        remap=remap,
        normalization="ct",
        spacing=None if layout == "transunet" else SPACING,
        mirror_pairs=MIRROR_PAIRS + (ADRENAL_PAIR if classes == 13 else ()),
        convention="transunet" if layout == "transunet" else "nnformer",
        notes=tuple(notes),
    )


def find_layout(path: Path) -> tuple[Path, str]:
    """Return the folder that holds the data, at ``path`` or up to two levels below, and its layout.

    Raises:
        DataError: if no layout is recognised, or several are on the same level.
    """
    for pattern in ("", "*", "*/*"):
        folders = [path] if not pattern else sorted(p for p in path.glob(pattern) if p.is_dir())
        found = [(folder, layout) for folder in folders if (layout := _layout_of(folder))]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{path}: {few([f for f, _ in found], 4)} all hold such a data set; give the path of one of them"
            )
    raise DataError(
        f"{path}: no layout of Synapse recognised; looked for {_LOOKED_FOR}, {path.name} {contents(path)}; {HOW_TO_GET}"
    )


def _layout_of(folder: Path) -> str | None:
    if (folder / "train_npz").is_dir() or (folder / "test_vol_h5").is_dir():
        return "transunet"
    if (folder / "Training" / "img").is_dir() or ((folder / "img").is_dir() and (folder / "label").is_dir()):
        return "btcv"
    if not (folder / "imagesTr").is_dir():
        return None
    if any(_strip_channel(stem) != stem for stem in list_volumes(folder / "imagesTr")):
        return "nnunet"
    return "nnformer" if (folder / "dataset.json").is_file() else "monai"


def _strip_channel(stem: str) -> str:
    """Remove nnU-Net's channel number from ``case_0005_0000``; ``img0005`` and ``img_0005`` have none."""
    short = re.sub(r"_\d{4}$", "", stem)
    return short if re.search(r"\d", short) else stem


def _by_digits(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the volumes of ``folder`` by the last four digits of their stems, and the names that have none."""
    found: dict[str, Path] = {}
    skipped = []
    for stem, path in list_volumes(folder).items():
        digits = re.findall(r"\d{4}", _strip_channel(stem))
        if not digits:
            skipped.append(path.name)
        elif digits[-1] in found:
            raise DataError(
                f"{folder}: {found[digits[-1]].name} and {path.name} are both case {digits[-1]}; keep one of them"
            )
        else:
            found[digits[-1]] = path
    return found, skipped


def _pair_nifti(root: Path, layout: str) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Pair images and labels by their four digits, whatever the prefixes; only test images may lack a label."""
    if layout == "btcv":
        training = root / "Training" if (root / "Training" / "img").is_dir() else root
        testing = training.parent / "Testing"
        folders = [(training / "img", training / "label"), (testing / "img", testing / "label")]
    else:
        folders = [(root / "imagesTr", root / "labelsTr"), (root / "imagesTs", root / "labelsTs")]
    files: dict[str, tuple[Path, Path]] = {}
    notes = []
    unlabelled: list[str] = []
    for (image_folder, label_folder), may_lack in zip(folders, (False, True), strict=True):
        (images, odd), (labels, odd_labels) = _by_digits(image_folder), _by_digits(label_folder)
        bare = sorted(images.keys() - labels.keys() - files.keys())
        if bare and not may_lack:
            raise DataError(
                f"{images[bare[0]]}: no label for it in {label_folder} ({len(bare)} of {len(images)} images lack one); "
                f"put {label_folder / f'label{bare[0]}.nii.gz'} there, or take the image away to do without the case"
            )
        unlabelled += bare
        if orphans := sorted(labels.keys() - images.keys() - files.keys()):
            notes.append(f"labels without an image in {image_folder}, left out: {few(orphans)}")
        if odd or odd_labels:
            notes.append(f"files without a four-digit case number, left out: {few(odd + odd_labels)}")
        files |= {case: (images[case], labels[case]) for case in images.keys() & labels.keys() - files.keys()}
    if not files:
        raise DataError(f"{root}: no image with its label in {folders[0][0]} and {folders[0][1]}; {HOW_TO_GET}")
    if unlabelled:
        notes.append(f"{len(unlabelled)} unlabelled challenge case(s) are not included: {few(unlabelled, 3)}")
    return files, notes


def _require_known(files: dict[str, tuple[Path, Path]], root: Path) -> None:
    unknown = sorted(files.keys() - {*TEST_CASES, *TRAINING_CASES})
    if unknown:
        raise DataError(
            f"{root}: {few(unknown)} are not among BTCV's labelled cases (0001-0010, 0021-0040), so the 18/12 split "
            f"does not say where they belong; keep the original numbers, or use `densekit prepare nnunet` or `folder` "
            f"with your own split"
        )


def _missing(files: dict[str, tuple[Path, Path]]) -> Iterator[str]:
    for name, ids in (("test", TEST_CASES), ("training", TRAINING_CASES)):
        missing = sorted(set(ids) - files.keys())
        if missing:
            yield f"{len(missing)} of the {len(ids)} {name} cases are missing: {few(missing, 18)}"


def _validation_ids(val_cases: int | Sequence[str | int]) -> tuple[str, ...]:
    if isinstance(val_cases, int):
        if not 0 <= val_cases < len(TRAINING_CASES):
            raise ConfigError(
                f"val_cases={val_cases}: expected 0 to {len(TRAINING_CASES) - 1} of the 18 training cases"
            )
        return TRAINING_CASES[:val_cases]
    ids = [str(case).zfill(4) for case in val_cases]
    wrong = [case for case in ids if case not in TRAINING_CASES]
    if wrong:
        raise ConfigError(
            f"val_cases: {few(wrong)} are not training cases; choose among {few(sorted(TRAINING_CASES), 18)} "
            f"(a test case cannot validate: it would choose the checkpoint that it scores)"
        )
    return tuple(ids)
