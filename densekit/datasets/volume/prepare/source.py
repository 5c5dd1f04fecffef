"""What a reader of a raw layout says of a data set: what :func:`~densekit.datasets.volume.store.write_store` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from densekit.datasets.volume.prepare.boxes import SourceBoxes


@dataclass(frozen=True)
class CaseSource:
    """One scan of a raw data set.

    Attributes:
        id: Case id, unique in the data set (``"0005"``, ``"patient001_frame01"``): printable, without slashes.
        images: One file per channel, in the order of ``SourceDataset.channels``, all on one grid; None for a channel
            that the scan lacks, which must be one of ``SourceDataset.optional_channels``.
        label: Label map on the grid of the images, or None for a scan without one. It can train and validate only
            what it has ``classes`` or ``boxes`` for.
        split: ``"train"``, ``"val"`` or ``"test"``; None for a case that is in folds only.
        patient: Whose scan it is; None: not known, each case counts as a patient of its own.
        classes: Class of the patient by name of what is told apart (``{"diagnosis": "benign"}``).
        meta: Meta-information by name, numbers or texts (``{"age": 63.0, "sex": "F"}``).
        boxes: Boxes around what is to be found in it, none of them if there is nothing; None: not known.
    """

    id: str
    images: tuple[Path | None, ...]
    label: Path | None
    split: str | None
    patient: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, float | str] = field(default_factory=dict)
    boxes: SourceBoxes | None = None


@dataclass(frozen=True)
class SourceDataset:
    """A raw data set as its layout's reader understands it.

    Attributes:
        name: ``"synapse"``, ``"acdc"``, ``"hippocampus"`` ...
        layout: Which layout was read (``"btcv"``, ``"transunet"``, ``"nnformer"``, ``"nnunet"``, ``"monai"``,
            ``"folder"`` ...).
        channels: Name of each image channel (``("CT",)``).
        labels: Class names by stored label value, ``labels[0]`` is ``"background"``.
        cases: All cases, of every split.
        scored: Names of the classes that enter the mean score (default: all but the background).
        remap: Raw label value -> stored label value. None: values are stored as they are. A raw value that is not a key
            is a DataError (label values outside the class list are never mapped silently).
        normalization: ``"ct"`` (clip to 0.5-99.5 percentile of the training foreground, subtract its mean, divide by
            its SD) or ``"zscore"`` (each case by its own mean and SD).
        spacing: Target spacing (D, H, W) in mm; ``"median"`` (nnU-Net's rule: the median, on a strongly anisotropic
            axis the 10th percentile, over all cases but those of ``test``); or None (no resampling).
        mirror_pairs: Names of classes that swap in a left/right mirror, e.g. ``(("left kidney", "right kidney"),)``.
        convention: Default empty-mask convention of the evaluation: ``"transunet"``, ``"nnformer"`` or ``"strict"``.
        notes: Lines to show the user once (cases missing from a published split, files skipped, an assumption made).
        optional_channels: Channels that a case may lack.
        folds: Of each fold the case ids of ``"train"`` and ``"val"``, where the layout or a split file gives some.
        box_classes: Class names of boxes, in the order of their labels.
    """

    name: str
    layout: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[CaseSource, ...]
    scored: tuple[str, ...] | None = None
    remap: dict[int, int] | None = None
    normalization: str = "ct"
    spacing: tuple[float, float, float] | str | None = "median"
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    convention: str = "strict"
    notes: tuple[str, ...] = ()
    optional_channels: tuple[str, ...] = ()
    folds: tuple[dict[str, list[str]], ...] = ()
    box_classes: tuple[str, ...] = ()
