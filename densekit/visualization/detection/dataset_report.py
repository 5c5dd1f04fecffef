"""The page of ``densekit check`` for detection data: what is wrong, where it shows, and what the labels look like."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from densekit.datasets.detection.inspection import SIDES, Inspection
from densekit.structures.findings import Example
from densekit.visualization.detection.objects import draw_detections
from densekit.visualization.shared.findings import finding_views, shortened
from densekit.visualization.shared.page import write_page
from densekit.visualization.shared.palette import css_color
from densekit.visualization.shared.thumbnails import crop_around, data_uri, open_upright


def write_dataset_report(path: str | os.PathLike, inspection: Inspection) -> None:
    """Write what ``densekit check`` found as one self-contained HTML page.

    Errors first, then warnings, each with its count, up to three places (cut out of the image where there is one)
    and the remedy; then splits and classes, and a dozen images with their labels.

    Args:
        path: The HTML file to write.
        inspection: What was found. The image files are read from where they lie.

    Raises:
        OutputError: if the file cannot be written.
    """
    summary = inspection.summary
    write_page(
        path,
        "detection_data",
        sheet="image_data",
        title=f"Data set {summary['name']}",
        lead=_lead(inspection),
        layout=summary["layout"],
        **finding_views(inspection.findings, _thumbnail, _caption),
        splits=[_split_row(name, counts) for name, counts in summary["splits"].items()],
        split_names=list(summary["splits"]),
        facts=_facts(summary),
        histogram=_histogram(summary),
        input_size=" × ".join(str(side) for side in summary["input_size"]),
        classes=_class_views(summary),
        gallery=[view for view in (_gallery_view(item, summary) for item in summary["gallery"]) if view],
    )


def _lead(inspection: Inspection) -> str:
    splits = inspection.summary["splits"].values()
    images, objects = (sum(counts[key] for counts in splits) for key in ("images", "objects"))
    classes = len(inspection.summary["classes"])
    errors, warnings = inspection.count("error"), inspection.count("warning")
    verdict = f"{errors} error{'s' * (errors != 1)}: it cannot be trained on as it is" if errors else "Sound"
    return (
        f"{images:,} images, {objects:,} objects of {classes} class{'es' * (classes != 1)}. "
        f"{verdict}; {warnings} warning{'s' * (warnings != 1)}."
    )


def _caption(example: Example) -> str:
    return example.where + (" (red: as it stands, yellow: as it is likely meant)" if example.likely else "")


def _thumbnail(example: Example) -> str | None:
    image = open_upright(example.image) if example.image else None
    return (
        None if image is None else data_uri(crop_around(image, example.boxes, example.outlines, likely=example.likely))
    )


def _split_row(name: str, counts: Mapping[str, int]) -> list[str]:
    mean = counts["objects"] / counts["images"] if counts["images"] else 0
    return [name, *(f"{counts[key]:,}" for key in ("images", "background", "objects")), f"{mean:.1f}"]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{w} × {h} ({n:,})" for w, h, n in summary["sizes"])
    more = summary["different_sizes"] - len(summary["sizes"])
    median, most = summary["objects_per_image"]
    objects = sum(counts["objects"] for counts in summary["splits"].values())
    outlined = "all" if summary["outlines"] == objects else f"{summary['outlines']:,} of {objects:,}"
    return [
        ("Folder", summary["root"]),
        ("Sizes of the images", sizes + (f" and {more:,} others" if more > 0 else "")),
        ("Objects per image", f"median {median:g}, most {most:,}"),
        ("Objects with an outline", outlined if summary["outlines"] else "none: boxes only"),
    ]


def _histogram(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    counts = summary["seen_sides"]
    names = [f"< {SIDES[0]}", *(f"{low}–{high}" for low, high in pairwise(SIDES)), f"> {SIDES[-1]}"]
    most = max([1, *counts])
    # Room for the numbers above and below: a bar takes 70 % of the height at most.
    heights = (f"{70 * count / most:.1f}%" for count in counts)
    return [
        {"name": name, "count": f"{count:,}", "height": height}
        for name, count, height in zip(names, counts, heights, strict=True)
    ]


def _class_views(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    totals = [sum(entry["objects"].values()) for entry in summary["classes"]]
    everything, largest = max(sum(totals), 1), max([1, *totals])
    views = []
    for label, (entry, total) in enumerate(zip(summary["classes"], totals, strict=True)):
        side = entry["median_side"]
        views.append(
            {
                "name": entry["name"],
                "color": css_color(label + 1),
                "counts": [entry["objects"][split] for split in summary["splits"]],
                "total": total,
                "side": side,
                "side_text": "–" if side is None else f"{side:.0f}",
                "part": f"{100 * total / largest:.1f}%",
                "share": f"{100 * total / everything:.1f} %",
            }
        )
    return sorted(views, key=lambda view: -view["total"])


def _gallery_view(item: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any] | None:
    image = open_upright(item["file"])
    if image is None:
        return None
    names: Sequence[str] = [entry["name"] for entry in summary["classes"]]
    drawn = draw_detections(
        image, item["boxes"], item["labels"], None, item["outlines"], names, size=(420, 320), framed=False
    )
    count = item["objects"]
    words = "background" if count == 0 else f"{count:,} object{'s' * (count != 1)}"
    name = item["name"].rpartition("/")[2]
    short = shortened(name)
    return {"data": data_uri(drawn), "name": item["name"], "short": short, "split": item["split"], "objects": words}
