"""mIoU: densekit's SegmentationMetric against MMSegmentation's IoUMetric, seconds for the same label images.

    python benchmarks/segmentation_evaluation.py               # 50 masks of 512 x 683 pixels, 150 classes
    python benchmarks/segmentation_evaluation.py --images 500 --regions 60

Made-up label images like those of ADE20K: some regions of a few of the classes, predicted with borders that lie askew,
regions of a wrong class, and ignored pixels. Both metrics get the same samples, as an evaluation loop hands them over,
and compute from them what they report; ours twice: what IoUMetric computes (boundary=None), and all it does, which is
boundary IoU, where the errors lie, and the worst predictions kept. They take turns in one process with one thread; the
table shows the best of the repeats. That all numbers are the same is checked first.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from functools import partial

import cv2
import numpy as np
import torch

SIZE = (512, 683)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--regions", type=int, default=25, help="per image")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.disable(logging.INFO)  # IoUMetric prints a table
    generator = np.random.default_rng(0)
    pairs = [made_up(generator, args.regions, args.classes) for _ in range(args.images)]
    samples = [sample(number, *pair) for number, pair in enumerate(pairs)]
    names = tuple(f"class {number}" for number in range(args.classes))
    there = np.mean([len(np.unique(truth)) for truth, _ in pairs])
    print(
        f"{args.images} masks of {SIZE[0]} x {SIZE[1]}, {args.classes} classes, {there:.0f} in an image; load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print(f"largest difference of IoU, Acc and their means: {difference(samples, names):.1e} (float32 there)")
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(args.repeats):
        for name, build in CONTENDERS.items():
            metric = build(names)
            start = time.perf_counter()
            for one in samples:
                metric.process(None, [one])
            metric.evaluate(len(samples))
            seconds[name].append(time.perf_counter() - start)
    peer = min(seconds["mmseg IoUMetric"])
    for name, runs in seconds.items():
        print(f"{name:34}{1000 * min(runs) / args.images:8.2f} ms per image, mmseg / this: {peer / min(runs):.2f}")


def ours(names: tuple[str, ...], boundary: float | None = None):
    from densekit.evaluation.segmentation import SegmentationMetric

    return SegmentationMetric(names, boundary=boundary, keep=24 if boundary else 0)


def mmsegmentation(names: tuple[str, ...]):
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric()
    metric.dataset_meta = {"classes": names}
    return metric


CONTENDERS = {
    "mmseg IoUMetric": mmsegmentation,
    "densekit, the same numbers": ours,
    "densekit, boundaries and errors too": partial(ours, boundary=0.02),
}


def difference(samples: list[dict], names: tuple[str, ...]) -> float:
    """The largest difference between what the two report; NaN in the same places is none."""
    metric, peer = ours(names), mmsegmentation(names)
    for one in samples:
        metric.process(None, [one])
        peer.process(None, [one])
    metric.compute_metrics(metric.results)
    areas = [sum(part) for part in zip(*peer.results, strict=True)]
    theirs = peer.total_area_to_metrics(*areas, ["mIoU"])
    scores = metric.last_scores
    pairs = [(scores.aAcc, theirs["aAcc"])]
    for key, mean in (("IoU", scores.mIoU), ("Acc", scores.mAcc)):
        each = np.array([row[key] for row in scores.per_class.values()])
        if not np.array_equal(np.isnan(each), np.isnan(theirs[key])):
            raise SystemExit(f"{key}: not the same classes have a value")
        pairs += [(each[~np.isnan(each)], theirs[key][~np.isnan(each)]), (mean, np.nanmean(theirs[key]))]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def made_up(generator: np.random.Generator, regions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction ``(H, W)`` uint8: the cells of points, some classes sharing several."""
    centres = generator.random((regions, 2)) * SIZE
    label = generator.choice(generator.integers(0, classes, max(2, regions // 2)), regions).astype(np.uint8)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    wave = 12 * cv2.resize(generator.standard_normal((16, 20)).astype(np.float32), SIZE[::-1])
    distance = np.stack([np.hypot(y + wave - cy, x + wave - cx) for cy, cx in centres.astype(np.float32)])
    nearest = distance.argmin(axis=0)
    truth = label[nearest]
    taken = np.where(generator.random(regions) < 0.2, generator.integers(0, classes, regions), label).astype(np.uint8)
    found = np.roll(taken[nearest], (2, -3), (0, 1))
    truth[cv2.resize(generator.random((12, 16)), SIZE[::-1]) > 0.9] = 255
    return truth, found


def sample(number: int, truth: np.ndarray, found: np.ndarray) -> dict:
    """What an evaluation loop hands over of an image."""
    return {
        "img_path": f"{number}.jpg",
        "pred_sem_seg": {"data": torch.from_numpy(found)[None]},
        "gt_sem_seg": {"data": torch.from_numpy(truth)[None]},
    }


if __name__ == "__main__":
    main()
