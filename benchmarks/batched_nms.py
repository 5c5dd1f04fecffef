"""Non-maximum suppression by class: densekit's batched_nms against a plain loop over the classes and against its peers.

    python benchmarks/batched_nms.py                  # one thread of the CPU
    python benchmarks/batched_nms.py --device cuda

Contenders, all on torchvision's kernel, so that only the batching differs: the loop (a mask and a call per class, what
mmcv does from 10,000 boxes on), mmcv's own Python function as shipped, torchvision.ops.batched_nms, and densekit's.
The boxes look like a detector's: several candidates around each object, most with the object's class. In one process
the contenders take turns; the table shows the best of the repeats in ms, the loop's time over densekit's, and how many
boxes a contender keeps or drops other than the loop does in float64 ("wrong"). In the last rows most coordinates are
negative, as in tiles left of the origin, where shifting each class by the largest coordinate is not enough.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable

import torch
import torchvision.ops
from torch import Tensor

import densekit.ops.mmcv_ext.nms as ours

CASES = [
    (boxes, classes, low)
    for boxes, classes in [(1000, 1), (1000, 80), (5000, 80), (20_000, 80), (1000, 1203), (5000, 1203), (20_000, 1203)]
    for low in (0,)
] + [(1000, 80, -1200), (5000, 80, -1200)]
CONFIG = {"type": "nms", "iou_threshold": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    contenders = {
        "loop": plain_loop,
        "mmcv": mmcv_as_shipped(),
        "torchvision": lambda b, s, i: torchvision.ops.batched_nms(b, s, i, CONFIG["iou_threshold"]),
        "densekit": lambda b, s, i: ours.batched_nms(b, s, i, CONFIG)[1],
    }
    names = "".join(f"{name + ' ms':>15}{'wrong':>7}" for name in contenders)
    print(f"{'boxes':>7}{'classes':>9}{'from px':>9}{names}{'loop / densekit':>17}")
    for count, classes, low in CASES:
        boxes = [tensor.to(args.device) for tensor in detections(count, classes, low)]
        seconds = {name: float("inf") for name in contenders}
        truth = set(plain_loop(boxes[0].double(), boxes[1].double(), boxes[2]).tolist())
        wrong = {name: len(set(contender(*boxes).tolist()) ^ truth) for name, contender in contenders.items()}
        for _ in range(args.repeats):
            for name, contender in contenders.items():
                seconds[name] = min(seconds[name], timed(contender, boxes))
        cells = "".join(f"{1000 * seconds[n]:>15.2f}{wrong[n]:>7}" for n in contenders)
        print(f"{count:>7}{classes:>9}{low:>9}{cells}{seconds['loop'] / seconds['densekit']:>17.1f}", flush=True)


def detections(count: int, classes: int, low: float) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes of about ten candidates per object in an image of 1333 x 800, scores and classes."""
    generator = torch.Generator().manual_seed(0)
    objects = max(count // 10, 1)
    centre = torch.rand(objects, 2, generator=generator) * torch.tensor([1333.0, 800.0]) + low
    size = torch.rand(objects, 2, generator=generator) * 150 + 8
    kind = torch.randint(0, classes, (objects,), generator=generator)
    which = torch.randint(0, objects, (count,), generator=generator)
    jitter = torch.randn(2, count, 2, generator=generator) * 0.15
    centre, size = centre[which] + jitter[0] * size[which], size[which] * jitter[1].exp()
    other = torch.rand(count, generator=generator) < 0.3
    idxs = torch.where(other, torch.randint(0, classes, (count,), generator=generator), kind[which])
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)
    return torch.cat([centre - size / 2, centre + size / 2], 1), scores, idxs


def plain_loop(boxes: Tensor, scores: Tensor, idxs: Tensor) -> Tensor:
    """One class after another."""
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for index in torch.unique(idxs):
        members = (idxs == index).nonzero().squeeze(1)
        keep[members[torchvision.ops.nms(boxes[members], scores[members], CONFIG["iou_threshold"])]] = True
    keep = keep.nonzero().squeeze(1)
    return keep[scores[keep].argsort(descending=True)]


def mmcv_as_shipped() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """mmcv's function from its file, with the stand-in for the compiled kernel."""
    import mmcv.ops  # noqa: F401

    spec = importlib.util.spec_from_file_location("mmcv.ops.shipped_nms", sys.modules["mmcv.ops.nms"].__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda boxes, scores, idxs: module.batched_nms(boxes, scores, idxs, CONFIG)[1]


def timed(contender: Callable, boxes: list[Tensor]) -> float:
    """Seconds of one call."""
    synchronize = torch.cuda.synchronize if boxes[0].is_cuda else lambda: None
    synchronize()
    start = time.perf_counter()
    contender(*boxes)
    synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
