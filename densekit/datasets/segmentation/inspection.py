"""A data set of label images looked at as a whole: what it holds, what was found, some images to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.segmentation.alignment import Alignment
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.segmentation.prepared import PreparedSegmentation, read_segmentation
from densekit.datasets.segmentation.quality import check_quality, members
from densekit.datasets.shared.cache import AUTO
from densekit.datasets.shared.inspection import Inspection

GALLERY = 12
INPUT_SIZE = (2048, 512)
"""Of the published schedules of ADE20K, and what a config gets that says nothing."""
CROP = (512, 512)


@dataclass(frozen=True)
class SegmentationInspection(Inspection):
    """What ``densekit check`` knows of a data set of label images.

    Attributes:
        data: The data set, to draw its masks.
        likely: By path of an image whose mask lies elsewhere: where it fits.
    """

    data: PreparedSegmentation
    likely: Mapping[str, Alignment]


def inspect_segmentation(
    path: str | Path,
    *,
    format: str | None = None,
    classes: Any = None,
    seed: int | None = 0,
    input_size: tuple[int, int] = INPUT_SIZE,
    crop: tuple[int, int] = CROP,
    cache: str | Path = AUTO,
) -> SegmentationInspection:
    """Recognise, read and check a data set of label images.

    Args:
        path: Its folder.
        format, classes, seed, cache: As in :func:`densekit.datasets.segmentation.prepared.prepare_segmentation`.
        input_size: Longer and shorter side that images are resized into for training: widths are judged as seen then.
        crop: Width and height of what is cut out of them then.

    Raises:
        DataError: if there is no data set, or its files cannot be read at all.
        ConfigError: if ``format`` or ``classes`` cannot be right.
        OutputError: if the cache cannot be written.
    """
    data = read_segmentation(path, format=format, classes=classes, seed=seed, cache=cache)
    findings = Findings.of(data.findings)
    look = check_quality(data, findings, input_size=input_size, crop=crop)
    summary = summarize(data) | {"input_size": list(input_size), "crop": list(crop), "judged": look.judged}
    return SegmentationInspection(str(path), summary, findings.listed(), data, look.likely)


def summarize(data: PreparedSegmentation) -> dict[str, Any]:
    """Return what the table and the page show of a data set, in plain JSON types."""
    sizes = Counter(pair.size for pairs in data.splits.values() for pair in pairs)
    splits = {}
    for split, counts in data.counts.items():
        labelled, ignored = int(counts["pixels"].sum()), counts["ignored"]
        splits[split] = {
            "images": counts["images"],
            "unlabelled": counts["unlabelled"],
            "pixels": labelled + ignored,
            "ignored": ignored,
        }
    return {
        "name": data.name,
        "format": data.format,
        "layout": data.layout,
        "root": str(data.root),
        "channels": data.channels,
        "splits": splits,
        "classes": [
            {
                "name": name,
                "pixels": {split: int(counts["pixels"][n]) for split, counts in data.counts.items()},
                "images": {split: int((pixels[:, n] > 0).sum()) for split, pixels in data.pixels.items()},
            }
            for n, name in enumerate(data.classes)
        ],
        "sizes": [[w, h, n] for (w, h), n in sizes.most_common(5)],
        "different_sizes": len(sizes),
        "gallery": _choose(data),
    }


def _choose(data: PreparedSegmentation) -> list[str]:
    """Choose images to show: for each class from the rarest on one that has most of it, then any; always the same."""
    images = members(data)
    if not images:
        return []
    pixels = np.concatenate(list(data.pixels.values()))[:, :-1]
    chosen: list[int] = []
    for label in np.argsort(pixels.sum(axis=0), kind="stable"):
        if len(chosen) < GALLERY and pixels[:, label].any() and not pixels[chosen, label].any():
            chosen.append(int(pixels[:, label].argmax()))
    mixed = np.random.default_rng(0).permutation(len(images))
    rest = [int(n) for n in mixed if n not in chosen]
    return [images[n].pair.image for n in (chosen + rest)[:GALLERY]]
