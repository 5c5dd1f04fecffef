"""COCO average precision: densekit's evaluate() against pycocotools, seconds and memory.

    python benchmarks/coco_evaluation.py              # the size of COCO's val2017 with 98 detections per image
    python benchmarks/coco_evaluation.py --images 500 --masks

A made-up set like val2017: 5,000 images, 80 classes of unequal frequency, 7.3 objects per image of all sizes (some
crowds), and detections as detectors give them: several per object, better ones with higher scores, many of another
class, some where nothing is. Both contenders get the same annotations and results, as parsed JSON, each in a process of
its own; timed is all that follows, and memory is the peak above what the parsed JSON needs. pycocotools matches and
accumulates as published, MMDetection's CocoMetric calls nothing else. They take turns; the table shows the best of the
repeats, and the ratio of the times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = np.array([640, 480])
KEYS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--detections", type=int, default=98, help="per image")
    parser.add_argument("--masks", action="store_true", help="score masks (ellipses in the boxes) instead of boxes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measure(args.contender, args.folder, "segm" if args.masks else "bbox")))
        return
    with tempfile.TemporaryDirectory() as folder:
        truth, rows = made_up(args)
        print(
            f"{len(truth['images']):,} images, {len(truth['annotations']):,} objects, {len(rows):,} detections, "
            f"{args.classes} classes, {'masks' if args.masks else 'boxes'}; load {os.getloadavg()[0]:.1f} "
            f"on {os.cpu_count()} cores"
        )
        for name, content in (("truth", truth), ("rows", rows)):
            (Path(folder) / f"{name}.json").write_text(json.dumps(content))
        del truth, rows
        report(compete(args, folder))


def compete(args: argparse.Namespace, folder: str) -> dict[str, list[dict]]:
    """Run the contenders in turn, each time in a new process."""
    results: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for _ in range(args.repeats):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--contender", name, "--folder", folder, *["--masks"] * args.masks]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def report(results: dict[str, list[dict]]) -> None:
    best = {
        name: {key: min(run[key] for run in runs) for key in ("wall", "cpu", "memory")}
        for name, runs in results.items()
    }
    print(f"\n{'':14}{'wall s':>9}{'CPU s':>9}{'memory MB':>11}{'AP':>12}{'AP50':>12}")
    for name, row in best.items():
        scores = results[name][0]["scores"]
        numbers = f"{row['wall']:9.2f}{row['cpu']:9.2f}{row['memory']:11.0f}"
        print(f"{name:14}{numbers}{scores['AP']:12.8f}{scores['AP50']:12.8f}")
    ours, peer = best["densekit"], best["pycocotools"]
    differences = (abs(results["densekit"][0]["scores"][k] - results["pycocotools"][0]["scores"][k]) for k in KEYS)
    print(
        f"\npycocotools / densekit: wall {peer['wall'] / ours['wall']:.1f}, CPU {peer['cpu'] / ours['cpu']:.1f}, "
        f"memory {peer['memory'] / max(ours['memory'], 1):.1f}; largest difference of the six AP {max(differences):.1e}"
    )


def measure(contender: str, folder: Path, iou_type: str) -> dict[str, Any]:
    """Score once; return seconds, MB and scores."""
    score = CONTENDERS[contender]()  # imports are not timed
    truth, rows = (json.loads((folder / f"{name}.json").read_text()) for name in ("truth", "rows"))
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    scores = score(truth, rows, iou_type)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "memory": peak() - before, "scores": scores}


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def ours():
    from hotcoco import COCOeval  # noqa: F401  imported on first use otherwise

    from densekit.evaluation.detection import evaluate

    def score(truth: dict, rows: list[dict], iou_type: str) -> dict[str, float]:
        scores = evaluate(truth, rows, iou_type=iou_type)
        return {key: getattr(scores, key) for key in KEYS}

    return score


def pycocotools():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def score(truth: dict, rows: list[dict], iou_type: str) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            api = COCO()
            api.dataset = truth
            api.createIndex()
            run = COCOeval(api, api.loadRes(rows), iou_type)
            run.evaluate()
            run.accumulate()
            run.summarize()
        return dict(zip(KEYS, run.stats.tolist(), strict=False))

    return score


CONTENDERS = {"densekit": ours, "pycocotools": pycocotools}


def made_up(args: argparse.Namespace) -> tuple[dict, list[dict]]:
    """Annotations and results, the same for the same arguments."""
    rng = np.random.default_rng(0)
    share = np.arange(1, args.classes + 1) ** -0.7
    share /= share.sum()
    images = [
        {"id": n + 1, "file_name": f"{n}.jpg", "width": int(SIZE[0]), "height": int(SIZE[1])}
        for n in range(args.images)
    ]
    annotations, rows = [], []
    for image in images:
        count = rng.poisson(7.3)
        kinds = rng.choice(args.classes, max(1, min(3, count)), p=share)  # few classes in an image
        label = rng.choice(kinds, count)
        sides = np.minimum(np.exp(rng.normal(4, 1, (count, 2))) + 3, SIZE - 2)
        corner = rng.random((count, 2)) * (SIZE - sides)
        for k, xy, wh in zip(label, corner, sides, strict=True):
            area, crowd = round(0.6 * float(wh.prod()), 2), int(rng.random() < 0.012)
            more = {"id": len(annotations) + 1, "area": area, "iscrowd": crowd}
            annotations.append({**entry(image, k, xy, wh, args.masks), **more})
        rows += detections(rng, image, label, corner, sides, share, args)
    categories = [{"id": n + 1, "name": f"thing {n:02d}"} for n in range(args.classes)]
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def detections(rng, image: dict, label, corner, sides, share, args: argparse.Namespace) -> list[dict]:
    """What a detector finds in one image: around the objects, the better placed the higher the score, and elsewhere."""
    number = args.detections
    far = rng.random(number) < 0.3 if len(label) else np.ones(number, dtype=bool)
    about = rng.integers(0, max(len(label), 1), number)
    off = np.where(far, 1.0, 0.6 * rng.random(number) ** 2)
    xy, wh = rng.random((number, 2)) * 0.7 * SIZE, np.exp(rng.normal(4, 1, (number, 2)))
    kind = rng.choice(args.classes, number, p=share)
    if len(label):
        near = ~far[:, None]
        noise = rng.normal(0, 1, (2, number, 2)) * off[:, None]
        wh = np.where(near, sides[about] * np.exp(0.6 * noise[0]), wh)
        xy = np.where(near, corner[about] + 0.4 * noise[1] * sides[about], xy)
        kind = np.where(~far & (rng.random(number) < 0.75), label[about], kind)
    xy = np.clip(xy, 0, SIZE - 3)
    wh = np.maximum(np.minimum(wh, SIZE - xy), 1)
    score = np.clip(rng.beta(1, 6, number) + 0.5 * (1 - off) * rng.random(number), 0.001, 0.999)
    found = []
    for k, p, s, v in zip(kind, xy, wh, score, strict=True):
        row = {**entry(image, k, p, s, args.masks), "score": round(float(v), 5)}
        if args.masks:
            del row["bbox"]  # pycocotools would take the box's area for the mask's
        found.append(row)
    return found


def entry(image: dict, label: int, xy: np.ndarray, wh: np.ndarray, masks: bool) -> dict:
    """What annotations and results have in common."""
    row: dict[str, Any] = {"image_id": image["id"], "category_id": int(label) + 1}
    if masks:
        row["segmentation"] = ellipse(xy, wh)
    row["bbox"] = [round(float(v), 2) for v in (*xy, *wh)]
    return row


def ellipse(xy: np.ndarray, wh: np.ndarray) -> dict:
    """Run lengths of an ellipse in a box."""
    from pycocotools import mask as api

    low, high = np.maximum(np.floor(xy).astype(int), 0), np.minimum(np.ceil(xy + wh).astype(int), SIZE)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    mask = np.zeros(SIZE[::-1], dtype=np.uint8, order="F")
    half = np.maximum(wh / 2, 1)
    inside = ((x - xy[0] - half[0]) / half[0]) ** 2 + ((y - xy[1] - half[1]) / half[1]) ** 2 <= 1
    mask[low[1] : high[1], low[0] : high[0]] = inside
    rle = api.encode(mask)
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode()}


if __name__ == "__main__":
    main()
