"""The batch of a detector's training that needs the most memory: looked for in the annotations and the pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from densekit.progress import told
from densekit.random_state import random_state_kept

CANDIDATES = 8
"""Images with the most objects that are tried, besides the tallest, the widest and the largest."""
DRAWS = 4
"""Times each of them passes the pipeline, which may draw another scale each time; more if the largest did not come."""
MOST_DRAWS = 24
ANCHORS_PER_PIXEL = 9 / 64 * 4 / 3
"""Of RetinaNet: nine at each place of levels with strides 8, 16, ..."""
MANY_BYTES = 256 * 1024**2
"""Size of the comparison of all objects with all anchors from which it is named as a cause."""


@dataclass(frozen=True)
class WorstBatch:
    """The most demanding images of a training, as the pipeline gives them.

    Attributes:
        data: ``{"inputs": [uint8 (3, H, W), ...], "data_samples": [DetDataSample, ...]}``, as MMDetection collates.
        objects: Objects of each image after the pipeline, crowds left out.
        size: Height and width in pixels that the images are padded to (before the network's own divisor).
        images: Their files.
    """

    data: dict[str, list[Any]]
    objects: tuple[int, ...]
    size: tuple[int, int]
    images: tuple[str, ...]

    def first(self, number: int) -> WorstBatch:
        """The same of fewer images."""
        pairs = zip(self.data["inputs"], self.data["data_samples"], strict=True)
        return as_batch([{"inputs": image, "data_samples": sample} for image, sample in pairs][:number])

    def described(self) -> str:
        """In words: ``2 images padded to 1333x800, at most 37 objects`` (width, height)."""
        (height, width), number = self.size, len(self.objects)
        if number == 1:
            return f"1 image of {width}x{height} with {self.objects[0]} objects"
        return f"{number} images padded to {width}x{height}, at most {max(self.objects)} objects"

    def heavy(self) -> tuple[str, list[str]]:
        """Comparing all objects with all anchors, where that is much."""
        objects, anchors = max(self.objects), int(ANCHORS_PER_PIXEL * math.prod(self.size))
        size = 4 * objects * anchors
        if size <= MANY_BYTES:
            return "", []
        return (
            f"comparing {objects} objects with some {anchors:,} anchors takes {size / 2**20:,.0f} MiB at a time",
            ["compare on the CPU (gpu_assign_thr=100 in a MaxIoUAssigner)", "cut the images into tiles"],
        )


def worst_batch(
    dataset: Any, batch_size: int, *, largest: tuple[int, int] | None = None, draws: int = DRAWS
) -> WorstBatch:
    """Find the batch of a training that needs the most memory.

    The images with the most annotated objects go through the pipeline several times, each is taken at its largest. If
    another image (the tallest, the widest, the largest) would make the batch be padded to a larger size, it takes the
    place of the one with the fewest objects: at the end of an epoch MMDetection's AspectRatioBatchSampler puts tall and
    wide images into one batch, too.

    Args:
        dataset: MMDetection dataset, or :class:`~densekit.datasets.shared.epochs.SeededDataset`, whose epochs are
            the draws.
        batch_size: Images in the batch; a smaller data set gives some twice.
        largest: Longer and shorter side of the largest size that the pipeline resizes to, if that is known: each
            candidate passes the pipeline until it has been drawn, but at most :data:`MOST_DRAWS` times.
        draws: Times each candidate passes the pipeline at least.
    """
    base = getattr(dataset, "dataset", dataset)
    seeded = base is not dataset and hasattr(dataset, "seed")
    counts, shapes = _annotated(base)
    tried = sorted(range(len(counts)), key=lambda i: -counts[i])[: max(batch_size, CANDIDATES)]
    for extreme in (lambda h, w: h / w, lambda h, w: w / h, lambda h, w: h * w):
        known = [i for i, shape in enumerate(shapes) if min(shape) > 0]
        tried += [max(known, key=lambda i: extreme(*shapes[i]))] if known else []
    with random_state_kept():
        places = list(dict.fromkeys(tried))
        items = (
            _draw(
                (dataset[i + len(dataset) * n if seeded else i] for n in range(max(draws, MOST_DRAWS))), draws, largest
            )
            for i in places
        )
        drawn = list(told(items, len(places), "images tried for the largest batch"))
    best = [max(items, key=lambda item: (_area([item]), _objects(item))) for items in drawn]
    best.sort(key=lambda item: (-_objects(item), -_area([item])))
    chosen = [best[i % len(best)] for i in range(batch_size)]
    if batch_size > 1:
        others = [item for items in drawn for item in items]
        padding = max(others, key=lambda item: _area([*chosen[:-1], item]))
        if _area([*chosen[:-1], padding]) > _area(chosen):
            chosen = [padding, *chosen[:-1]]  # first, where it stays in a smaller batch
    return as_batch(chosen)


def _draw(items: Iterator[dict[str, Any]], draws: int, largest: tuple[int, int] | None) -> list[dict[str, Any]]:
    """Take so many items, or more until one has the largest size; keeping the ratio makes one of its sides so long."""
    drawn = []
    for item in items:
        drawn.append(item)
        sides = sorted(item["inputs"].shape[-2:], reverse=True)
        reached = largest is None or any(side >= most for side, most in zip(sides, largest, strict=True))
        if reached:
            largest = None
        if len(drawn) >= draws and reached:
            break
    return drawn


def _annotated(dataset: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Objects and (height, width) of each image by its annotation; (0, 0) if that does not say."""
    samples = getattr(dataset, "data_list", None)
    if hasattr(samples, "counts_and_shapes"):
        return samples.counts_and_shapes()
    counts, shapes = [], []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        counts.append(sum(not one.get("ignore_flag") for one in info["instances"]))
        shapes.append((info.get("height") or 0, info.get("width") or 0))
    return counts, shapes


def as_batch(items: list[dict[str, Any]]) -> WorstBatch:
    """Collate items of a dataset, ``{"inputs": ..., "data_samples": ...}``."""
    return WorstBatch(
        data={key: [item[key] for item in items] for key in ("inputs", "data_samples")},
        objects=tuple(_objects(item) for item in items),
        size=_padded(items),
        images=tuple(str(item["data_samples"].metainfo.get("img_path", "")) for item in items),
    )


def _objects(item: Mapping[str, Any]) -> int:
    return len(item["data_samples"].gt_instances)


def _padded(items: list[dict[str, Any]]) -> tuple[int, int]:
    return tuple(max(item["inputs"].shape[axis] for item in items) for axis in (-2, -1))


def _area(items: list[dict[str, Any]]) -> int:
    return math.prod(_padded(items))
