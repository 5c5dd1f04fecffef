"""The data set of a detector, as it is trained on and as it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densekit.datasets.detection import PreparedDetection, prepare_detection
from densekit.datasets.shared.folds import fold_of
from densekit.datasets.shared.patient_table import PatientTable
from densekit.structures.detections import Detections

if TYPE_CHECKING:
    from densekit.evaluation.detection import DetectionScores

DETECTIONS = "detections.json"


def read_data(settings: Mapping[str, Any], input_size: tuple[int, int] = (1333, 800)) -> PreparedDetection:
    """Read the data set that the settings ``data_root``, ``data_format`` and ``classes`` name.

    Args:
        settings: Those, and ``val_split``: if none validate, all images train and none are drawn; and ``folds``,
            ``fold`` and ``table``.
        input_size: See :func:`densekit.datasets.detection.prepare_detection`.

    Raises:
        DataError: if the data set is missing or has errors.
    """
    return prepare_detection(
        settings["data_root"],
        format=settings["data_format"],
        classes=settings["classes"],
        seed=None if settings["val_split"] is None else 0,
        input_size=input_size,
        fold=fold_of(settings),
    )


def test_loader(
    data: PreparedDetection,
    split: str,
    transforms: Sequence[Mapping[str, Any]],
    *,
    masks: bool,
    workers: int,
    table: PatientTable | None = None,
) -> dict[str, Any]:
    """Config of the DataLoader of a split as it is predicted: one image at a time, so that none is padded.

    Args:
        data: The data set.
        split: Name of the split.
        transforms: Those between loading and packing.
        masks: Whether the truth's masks are read, which the pictures show.
        workers: Data-loading processes, at most.
        table: Meta-information by file.
    """
    from densekit.datasets.detection.loading import with_loading
    from densekit.datasets.detection.training import coco_dataset

    pipeline = with_loading(transforms, masks=masks, ranges=data.ranges)
    images = coco_dataset(data.annotations[split], data.root, data.classes, pipeline, test=True, table=table)
    return {
        "batch_size": 1,
        "num_workers": min(2, workers),
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": images,
    }


def metric(data: PreparedDetection, split: str, work_dir: Path, *, masks: bool, max_dets: int) -> dict[str, Any]:
    """Config of the metric of a split."""
    return {
        "type": "densekit.DetectionMetric",
        "ann_file": str(data.annotations[split]),
        "iou_types": ("bbox", "segm") if masks else ("bbox",),
        "out": str(work_dir / DETECTIONS),
        "collect_dir": str(work_dir / ".collect"),
        "max_dets": max_dets,
    }


def write_report(
    data: PreparedDetection,
    split: str,
    folder: Path,
    *,
    truth: Detections,
    detections: Detections,
    scores: Mapping[str, DetectionScores],
    title: str,
    facts: Sequence[tuple[str, str]],
    max_dets: int,
) -> None:
    """Write ``report.html`` about the detections in the images of a split and their scores by IoU type."""
    from densekit.visualization.detection.report import write_detection_report

    counts, curves = data.counts[split], folder / "curves.png"
    write_detection_report(
        folder / "report.html",
        truth=truth,
        detections=detections,
        scores=scores,
        root=data.root,
        title=title,
        curves=curves if curves.is_file() else None,
        max_dets=max_dets,
        facts=[
            ("data set", f"{data.name}: {data.layout}"),
            ("scored on", f"{counts['images']:,} images of {split!r}, {counts['objects']:,} objects"),
            *facts,
        ],
    )
