"""What a run found over all its images: COCO files for scoring and for labelling tools, and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit import __version__
from densekit.errors import DataError, close_names
from densekit.inference.detection.exchange import coco_results
from densekit.inference.run import CaseResult
from densekit.inference.tables import relative_names
from densekit.io import atomic_path
from densekit.structures.detections import is_found

COCO = "predictions_coco.json"
RESULTS = "coco_results.json"
DETECTIONS = "detections.csv"
COUNTS = "counts.csv"

_COLUMNS = ("image", "class", "score", "x1", "y1", "x2", "y2", "width", "height")
_VIDEO_COLUMNS = ("frame", "time_s")


def columns(*, masks: bool, video: bool) -> list[str]:
    """Columns of a table of detections.

    Args:
        masks: Whether the network predicts masks.
        video: Whether there is a video among the inputs.
    """
    return [*_COLUMNS, *(("mask_area",) if masks else ()), *(_VIDEO_COLUMNS if video else ())]


def table_row(image: str, found: Mapping[str, Any], *, masks: bool) -> list[Any]:
    """A row of a table of detections, of what :meth:`DetectionResult.to_list` gives; without the columns of a video."""
    x1, y1, x2, y2 = found["box"]
    sides = [f"{value:.2f}" for value in (x1, y1, x2, y2, x2 - x1, y2 - y1)]
    return [image, found["class"], f"{found['score']:.4f}", *sides, *([found["mask_area"]] if masks else [])]


def found_in(out: Path, row: CaseResult) -> dict[str, Any]:
    """What was found in an image, as its file in the output folder has it."""
    return json.loads((out / row.case.output_name).read_text(encoding="utf-8"))


def write_tables(out: Path, rows: Sequence[CaseResult], names: Sequence[str], *, threshold: float, masks: bool) -> None:
    """Write the files over all images of a run.

    ``predictions_coco.json`` is a COCO dictionary (``images``, ``annotations`` with their scores, ``categories``) of
    what has a score of ``threshold`` or more: a labelling tool imports it, ``densekit check`` reads it.
    ``coco_results.json`` is COCO's list of results with all detections, however unsure: pycocotools takes it with
    ``COCO("predictions_coco.json").loadRes("coco_results.json")``; to score it against a truth with numbers of its own
    see :func:`results_for`. Category ids are from 1 in the order of the labels, image ids from 1 in the order of the
    inputs. ``detections.csv`` has a row for each detection from ``threshold`` on, those of videos with frame and time.
    ``counts.csv`` has a row for each input; that of a video counts the objects of the frame that has most of a class.

    Args:
        out: Output folder.
        rows: All cases of the run.
        names: Class names.
        threshold: Lowest score that counts as found.
        masks: Whether the network predicts masks.

    Raises:
        OutputError: if a file cannot be written.
    """
    files = relative_names([row.case.path for row in rows])
    done = [
        (number, file, row)
        for number, (file, row) in enumerate(zip(files, rows, strict=True), start=1)
        if row.status in ("ok", "kept")
    ]
    images = [entry for entry in done if not entry[2].case.is_video]
    _write_coco(out, images, names, threshold)
    _write_results(out, images)
    with atomic_path(out / DETECTIONS) as path, path.open("w", encoding="utf-8", newline="") as file:
        _write_detections(file, out, done, threshold=threshold, masks=masks)
    with atomic_path(out / COUNTS) as path, path.open("w", encoding="utf-8", newline="") as file:
        _write_counts(file, files, rows, names)


_Done = tuple[int, str, CaseResult]


def _annotations(found: Mapping[str, Any], image_id: int, threshold: float = 0.0) -> Iterator[dict[str, Any]]:
    return coco_results((row for row in found["detections"] if is_found(row["score"], threshold)), image_id)


def _write_lines(path: Path, before: str, rows: Iterable[Any], after: str) -> None:
    """Write JSON with a row on each line, one after the other: the whole need not fit the memory."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        for number, row in enumerate(rows):
            file.write(",\n" * (number > 0) + json.dumps(row, ensure_ascii=False, allow_nan=False))
        file.write(after)


def _write_results(out: Path, images: Sequence[_Done]) -> None:
    results = (row for number, _, case in images for row in _annotations(found_in(out, case), number))
    _write_lines(out / RESULTS, "[\n", results, "\n]\n")


def _write_coco(out: Path, images: Sequence[_Done], names: Sequence[str], threshold: float) -> None:
    head = {
        "info": {"description": "detections of densekit, not annotations of a person", "version": __version__},
        "licenses": [],
        "categories": [{"id": label, "name": name} for label, name in enumerate(names, start=1)],
        "images": [
            {"id": number, "file_name": file, "width": row.facts["size"][0], "height": row.facts["size"][1]}
            for number, file, row in images
        ],
    }
    text = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
    rows = (row for number, _, case in images for row in _annotations(found_in(out, case), number, threshold))
    # Tools that read COCO expect an area and an outline; an empty one is a box alone.
    full = (
        {"id": number, "iscrowd": 0, "segmentation": [], "area": round(row["bbox"][2] * row["bbox"][3], 2), **row}
        for number, row in enumerate(rows, start=1)
    )
    _write_lines(out / COCO, f'{text},\n "annotations": [\n', full, "\n]}\n")


def _write_detections(file: Any, out: Path, done: Sequence[_Done], *, threshold: float, masks: bool) -> None:
    table = csv.writer(file, lineterminator="\n")
    video = any(row.case.is_video for _, _, row in done)
    table.writerow(columns(masks=masks, video=video))
    for _, name, row in done:
        if row.case.is_video:
            with (out / row.case.output_name).open(encoding="utf-8", newline="") as part:
                rows = csv.reader(part)
                next(rows)
                table.writerows([name, *cells[1:]] for cells in rows)
            continue
        for found in found_in(out, row)["detections"]:
            if is_found(found["score"], threshold):
                table.writerow(table_row(name, found, masks=masks) + [""] * len(_VIDEO_COLUMNS) * video)


def _write_counts(file: Any, files: Sequence[str], rows: Sequence[CaseResult], names: Sequence[str]) -> None:
    """A row without a result has empty cells: it is not left out."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["image", "status", "frames", "objects", *names, "reason"])
    for name, row in zip(files, rows, strict=True):
        counts = row.facts.get("counts")
        cells = [sum(counts.values()), *(counts[label] for label in names)] if counts else [""] * (len(names) + 1)
        table.writerow([name, row.status, row.facts.get("frames", ""), *cells, row.reason or ""])


def results_for(truth: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    """The detections of an output folder with the image and category numbers of a COCO file, ready to be scored.

    Images are matched by name: by the whole ``file_name``, else by its last part where only one image has it.
    Categories are matched by name. Images of either side that the other does not have are left out.

    Args:
        truth: COCO dictionary with ``images`` and ``categories``.
        out: Folder that :func:`~densekit.inference.detection.predict_detections` wrote.

    Raises:
        DataError: if a class has no category of that name, no image is in both, or a name fits several images.
    """
    predicted = json.loads((out / COCO).read_text(encoding="utf-8"))
    categories = {category["name"]: category["id"] for category in truth["categories"]}
    labels = {}
    for category in predicted["categories"]:
        name = category["name"]
        if name not in categories:
            raise DataError(f"{out}: the truth has no category {name!r}{close_names(name, categories)}; rename one")
        labels[category["id"]] = categories[name]
    images = _match(predicted["images"], truth["images"], out)
    return [
        {**row, "image_id": images[row["image_id"]], "category_id": labels[row["category_id"]]}
        for row in json.loads((out / RESULTS).read_text(encoding="utf-8"))
        if row["image_id"] in images
    ]


def _match(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], out: Path) -> dict[int, Any]:
    whole = {image["file_name"]: image["id"] for image in theirs}
    by_name: dict[str, list[Any]] = {}
    for image in theirs:
        by_name.setdefault(Path(image["file_name"]).name, []).append(image["id"])
    found: dict[int, Any] = {}
    for image in ours:
        name = image["file_name"]
        candidates = [whole[name]] if name in whole else by_name.get(Path(name).name, [])
        if len(candidates) > 1:
            raise DataError(
                f"{out}: {name} could be any of {len(candidates)} images of the truth; predict the folder that its "
                f"file_name entries are relative to"
            )
        if candidates:
            found[image["id"]] = candidates[0]
    if not found:
        raise DataError(f"{out}: none of its images is in the truth (by file name); was another folder predicted?")
    if len(set(found.values())) < len(found):
        raise DataError(f"{out}: several of its images fit one image of the truth by name; predict its folder alone")
    return found
