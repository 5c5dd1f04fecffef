"""The page of ``densekit check`` for label images: what is wrong, where it shows, and what the masks look like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from PIL import Image

from densekit.datasets.segmentation.alignment import LONGEST
from densekit.datasets.segmentation.check import class_rows, labelled, percent
from densekit.datasets.segmentation.inspection import SegmentationInspection
from densekit.datasets.segmentation.quality import Member, members
from densekit.errors import DataError
from densekit.structures.findings import Example
from densekit.structures.label_images import IGNORED, label_counts
from densekit.visualization.segmentation.drawing import class_color, draw_segmentation, open_image, shares
from densekit.visualization.shared.findings import finding_views, shortened
from densekit.visualization.shared.page import write_page
from densekit.visualization.shared.palette import Color
from densekit.visualization.shared.sheet import fitting
from densekit.visualization.shared.thumbnails import ALARM, LIKELY, crop_around, data_uri

_TILE = (420, 320)
_CUT = (210, 160)
"""Pixels shown of a mask that is shifted: enlarged, so that a few pixels can be seen."""
_NAMED = 3


def write_dataset_report(path: str | os.PathLike, inspection: SegmentationInspection) -> None:
    """Write what ``densekit check`` found as one self-contained HTML page.

    Errors first, then warnings, each with its count, up to three places (with the mask drawn where there is one) and
    the remedy; then splits, a dozen images with their masks, and the classes.

    Args:
        path: The HTML file to write.
        inspection: What was found. The image files and masks are read from where they lie.

    Raises:
        OutputError: if the file cannot be written.
    """
    summary = inspection.summary
    images = {member.pair.image: member for member in members(inspection.data)}
    gallery = (_gallery_view(images[file], inspection) for file in summary["gallery"])
    draw = partial(_thumbnail, inspection=inspection, images=images)
    write_page(
        path,
        "segmentation_data",
        sheet="image_data",
        title=f"Data set {summary['name']}",
        lead=_lead(inspection),
        layout=summary["layout"],
        **finding_views(inspection.findings, draw, partial(_caption, inspection=inspection)),
        splits=[_split_row(name, counts) for name, counts in summary["splits"].items()],
        split_names=list(summary["splits"]),
        facts=_facts(summary),
        gallery=[view for view in gallery if view],
        classes=_class_views(inspection),
    )


def _lead(inspection: SegmentationInspection) -> str:
    images = sum(counts["images"] for counts in inspection.summary["splits"].values())
    classes = len(inspection.summary["classes"])
    errors, warnings = inspection.count("error"), inspection.count("warning")
    verdict = f"{errors} error{'s' * (errors != 1)}: it cannot be trained on as it is" if errors else "Sound"
    return (
        f"{images:,} images, {classes} class{'es' * (classes != 1)}. {verdict}; "
        f"{warnings} warning{'s' * (warnings != 1)}."
    )


def _is_off(example: Example, inspection: SegmentationInspection) -> bool:
    return example.image in inspection.likely and not example.boxes


def _caption(example: Example, inspection: SegmentationInspection) -> str:
    drawn = " (red: the mask as it stands, yellow: as it likely fits)"
    return example.where + drawn * _is_off(example, inspection)


def _thumbnail(example: Example, inspection: SegmentationInspection, images: Mapping[str, Member]) -> str | None:
    image = open_image(example.image, inspection.data) if example.image else None
    if image is None:
        return None
    labels = _labels(images.get(example.image), inspection)
    if labels is None:
        return data_uri(crop_around(image, example.boxes))
    if _is_off(example, inspection):
        return data_uri(_draw_off(image, labels, example.image, inspection))
    data = inspection.data
    if example.boxes:
        return data_uri(crop_around(draw_segmentation(image, labels, data.classes, data.colours), example.boxes))
    return data_uri(draw_segmentation(image, labels, data.classes, data.colours, size=_TILE))


def _labels(member: Member | None, inspection: SegmentationInspection) -> np.ndarray | None:
    """The mask of an image; None if it cannot be read, which is among the findings."""
    try:
        return None if member is None else inspection.data.read_labels(member.pair)
    except DataError:
        return None


def _draw_off(image: Image.Image, labels: np.ndarray, file: str, inspection: SegmentationInspection) -> Image.Image:
    """Draw the borders of a mask as it stands, and where it fits; of one that is only shifted the richest part."""
    alignment = inspection.likely[file]
    image.thumbnail((LONGEST, LONGEST))
    labels = cv2.resize(labels, image.size, interpolation=cv2.INTER_NEAREST)
    pixels = np.array(image)
    given, likely = (_borders(drawn) for drawn in (labels, alignment.likely(labels)))
    if alignment.turn:
        wide = np.ones((3, 3), np.uint8)
        given, likely = (cv2.dilate(drawn.astype(np.uint8), wide) > 0 for drawn in (given, likely))
    pixels[given] = ALARM
    pixels[likely] = LIKELY
    drawn = Image.fromarray(pixels)
    if not alignment.turn:
        width, height = (min(cut, side) for cut, side in zip(_CUT, image.size, strict=True))
        dense = cv2.boxFilter(given.astype(np.float32), -1, (width, height), borderType=cv2.BORDER_CONSTANT)
        y, x = np.unravel_index(int(dense.argmax()), dense.shape)
        left, top = (
            int(np.clip(middle - side // 2, 0, whole - side))
            for middle, side, whole in ((x, width, image.width), (y, height, image.height))
        )
        drawn = drawn.crop((left, top, left + width, top + height)).resize((2 * width, 2 * height), 0)
    return fitting(drawn, _TILE)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Pixels to the left of and above a border between two classes, bool ``(H, W)``."""
    borders = np.zeros(labels.shape, bool)
    known = labels != IGNORED
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        borders[other] |= (labels[one] != labels[other]) & known[one] & known[other]
    return borders


def _split_row(name: str, counts: Mapping[str, int]) -> list[str]:
    ignored = percent(counts["ignored"], counts["pixels"])
    return [name, f"{counts['images']:,}", f"{counts['unlabelled']:,}", ignored]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{w} × {h} ({n:,})" for w, h, n in summary["sizes"])
    more = summary["different_sizes"] - len(summary["sizes"])
    judged, images = summary["judged"], sum(counts["images"] for counts in summary["splits"].values())
    return [
        ("Folder", summary["root"]),
        ("Sizes of the images", sizes + (f" and {more:,} others" if more > 0 else "")),
        ("Channels", str(summary["channels"])),
        ("Masks that could be compared with their image", f"{judged:,} of {images:,}"),
        ("Scale at which widths were judged", " × ".join(map(str, summary["input_size"]))),
    ]


def _class_views(inspection: SegmentationInspection) -> list[dict[str, Any]]:
    summary, colours = inspection.summary, inspection.data.colours
    totals = [sum(entry["pixels"].values()) for entry in summary["classes"]]
    everything, largest = max(sum(totals), 1), max([1, *totals])
    views = []
    for label, entry in class_rows(summary):
        cells = []
        for split in summary["splits"]:
            pixels, images = entry["pixels"][split], entry["images"][split]
            cells += [
                {"value": pixels, "text": percent(pixels, labelled(summary, split))},
                {"value": images, "text": f"{images:,}"},
            ]
        views.append(
            {
                "name": entry["name"],
                "color": _css(class_color(label, colours)),
                "cells": cells,
                "part": f"{100 * totals[label] / largest:.1f}%",
                "share": percent(totals[label], everything),
            }
        )
    return views


def _gallery_view(member: Member, inspection: SegmentationInspection) -> dict[str, Any] | None:
    image, labels = open_image(member.pair.image, inspection.data), _labels(member, inspection)
    if image is None or labels is None:
        return None
    data = inspection.data
    found = shares(label_counts(labels))
    words = [f"{data.classes[label]} {share:.0%}" for label, share in found[:_NAMED]]
    words += [f"{len(found) - _NAMED} more"] * (len(found) > _NAMED)
    return {
        "data": data_uri(draw_segmentation(image, labels, data.classes, data.colours, size=_TILE)),
        "name": member.name,
        "short": shortened(member.name.rpartition("/")[2]),
        "split": member.split,
        "words": ", ".join(words) or "no class",
    }


def _css(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
