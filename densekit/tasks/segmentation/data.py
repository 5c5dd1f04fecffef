"""The data set of a segmentor, as it is trained on and as it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit.config_tree import plain
from densekit.datasets.segmentation import PreparedSegmentation, prepare_segmentation
from densekit.datasets.segmentation.dataset import SegmentationDataset
from densekit.datasets.shared.folds import fold_of
from densekit.datasets.shared.patient_table import PatientTable

COUNTS = "segmentation.npz"


def read_data(settings: Mapping[str, Any]) -> PreparedSegmentation:
    """Read the data set that the settings ``data_root``, ``data_format``, ``classes`` and ``ignore`` name.

    Args:
        settings: Those, and ``val_split``: if none validate, all images train and none are drawn; and ``folds``,
            ``fold`` and ``table``.

    Raises:
        DataError: if the data set is missing or has errors.
    """
    return prepare_segmentation(
        settings["data_root"],
        format=settings["data_format"],
        classes=plain(settings["classes"]),
        ignore=plain(settings["ignore"]),
        seed=None if settings["val_split"] is None else 0,
        fold=fold_of(settings),
    )


def test_loader(
    data: PreparedSegmentation,
    split: str,
    transforms: Sequence[Mapping[str, Any]],
    *,
    workers: int,
    table: PatientTable | None = None,
) -> dict[str, Any]:
    """Config of the DataLoader of a split as it is predicted: one image at a time, so that none is padded."""
    return {
        "batch_size": 1,
        "num_workers": min(2, workers),
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": SegmentationDataset(data, split, transforms, test=True, table=table),
    }


def metric(data: PreparedSegmentation, work_dir: Path) -> dict[str, Any]:
    """Config of the metric."""
    files = {"out": str(work_dir / COUNTS), "collect_dir": str(work_dir / ".collect")}
    return {"type": "densekit.SegmentationMetric", "classes": list(data.classes), **files}


def write_report(
    data: PreparedSegmentation,
    split: str,
    folder: Path,
    *,
    counts: Path,
    title: str,
    facts: Sequence[tuple[str, str]],
) -> None:
    """Write ``report.html`` about the scores of a split, from the counts of its images."""
    from densekit.visualization.segmentation.report import write_segmentation_report

    of_split, curves = data.counts[split], folder / "curves.png"
    write_segmentation_report(
        folder / "report.html",
        counts=counts,
        data=data,
        split=split,
        title=title,
        curves=curves if curves.is_file() else None,
        facts=[
            ("data set", f"{data.name}: {data.layout}"),
            ("scored on", f"{of_split['images']:,} images of {split!r}"),
            *facts,
        ],
    )
