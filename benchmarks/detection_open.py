"""Opening a COCO data set of 118,000 images: columns against MMDetection's CocoDataset, seconds and memory.

    python benchmarks/detection_open.py
    python benchmarks/detection_open.py --images 5000 --repeats 3

A made-up set like COCO's train2017: 7.3 objects per image, 80 classes, a polygon of 16 points each, 1 % crowds. Each
contender opens the annotations in a process of its own, after its imports and with the file in the system's cache, and
then makes the samples of 2,000 images, for the first time, without reading these. Peer: CocoDataset as MMDetection's
configs use it. The columns are written once, when a data set is prepared; that is timed too. The samples are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import densekit  # noqa: F401  MMDetection's operators

CLASSES = tuple(f"thing {n:02d}" for n in range(80))
POINTS = 16
SAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--objects", type=int, default=860_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measure(args.contender, args.file)))
        return
    objects = args.objects * args.images // 118_000
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.json"
        write_json(file, args.images, objects)
        print(
            f"{args.images:,} images, {objects:,} objects, JSON of {file.stat().st_size / 1e6:.0f} MB; "
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        rows: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
        for _ in range(args.repeats):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--contender", name, "--file", str(file)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    report(rows)


def report(rows: dict[str, list[dict]]) -> None:
    best = {
        name: {key: min(run[key] for run in runs) for key in ("open", "cpu", "memory", "sample")}
        for name, runs in rows.items()
    }
    print(f"\n{'':30}{'open s':>9}{'CPU s':>9}{'memory MB':>11}{'µs a sample':>13}")
    for name, row in best.items():
        print(f"{name:30}{row['open']:9.3f}{row['cpu']:9.3f}{row['memory']:11.0f}{row['sample']:13.0f}")
    stock, ours = best["CocoDataset"], best["columns"]
    print(
        f"\nCocoDataset / columns: seconds {stock['open'] / ours['open']:.0f}, "
        f"memory {stock['memory'] / max(ours['memory'], 1):.0f}, a sample {stock['sample'] / ours['sample']:.2f}"
    )
    same = rows["CocoDataset"][0]["digest"] == rows["columns"][0]["digest"]
    print("samples: the same" if same else "samples: THEY DIFFER")


def measure(contender: str, file: Path) -> dict[str, Any]:
    """Open once; return seconds, MB, microseconds per sample and a digest of the samples."""
    opening = CONTENDERS[contender]()  # imports are not timed
    for path in (file, file.with_suffix(".columns")):
        if path.is_file():
            path.read_bytes()
    before = memory()
    wall, cpu = time.perf_counter(), time.process_time()
    dataset = opening(file)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {"open": wall, "cpu": cpu, "memory": peak() - before, "sample": float("nan"), "digest": ""}
    if dataset is None:
        return found
    chosen = np.random.default_rng(0).permutation(len(dataset))[:SAMPLES].tolist()
    start = time.perf_counter()
    for index in chosen:
        dataset.get_data_info(index)
    found["sample"] = (time.perf_counter() - start) / len(chosen) * 1e6
    samples = json.dumps([dataset.get_data_info(index) for index in chosen], sort_keys=True)
    found["digest"] = hashlib.sha256(samples.encode()).hexdigest()
    return found


def memory() -> float:
    """Memory of this process in MB, and the peak counted from here on, where the system allows that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


OPTIONS = {"data_prefix": {"img": "images"}, "metainfo": {"classes": CLASSES}, "pipeline": []}


def stock():
    from mmdet.datasets import CocoDataset

    def opening(file: Path) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return CocoDataset(ann_file=str(file), filter_cfg={"filter_empty_gt": False}, **OPTIONS)

    return opening


def writing():
    from densekit.datasets.detection.columns import write_columns

    return write_columns


def ours():
    from densekit.datasets.detection.training import coco_dataset

    return lambda file: coco_dataset(file, Path("images"), CLASSES, [])


def truth():
    from densekit.evaluation.detection import read_truth

    def opening(file: Path) -> None:
        read_truth(file, masks=True)

    return opening


CONTENDERS = {"CocoDataset": stock, "writing the columns, once": writing, "columns": ours, "columns, for scores": truth}


def write_json(file: Path, images: int, objects: int) -> None:
    """Write the annotations image by image: the whole need not fit the memory."""
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(0, images, objects))
    sizes = rng.choice([[640, 480], [480, 640], [500, 375], [640, 427]], images)
    bounds = np.searchsorted(owners, np.arange(images + 1))
    with file.open("w") as out:
        out.write('{"categories": ' + json.dumps([{"id": n, "name": c} for n, c in enumerate(CLASSES, start=1)]))
        rows = (
            {"id": n + 1, "file_name": f"{n:012d}.jpg", "width": int(w), "height": int(h)}
            for n, (w, h) in enumerate(sizes)
        )
        write_rows(out, "images", rows)
        write_rows(out, "annotations", annotations(rng, sizes, bounds))
        out.write("}")


def write_rows(out: Any, name: str, rows: Iterator[dict]) -> None:
    out.write(f', "{name}": [')
    for n, row in enumerate(rows):
        out.write(", " * (n > 0) + json.dumps(row))
    out.write("]")


def annotations(rng: np.random.Generator, sizes: np.ndarray, bounds: np.ndarray) -> Iterator[dict]:
    turn = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) / 2 + 0.5
    for image, size in enumerate(sizes):
        for number in range(bounds[image], bounds[image + 1]):
            sides = np.minimum(np.exp(rng.normal(4, 1, 2)), size - 2)
            corner = rng.random(2) * (size - sides)
            yield {
                "id": number + 1,
                "image_id": image + 1,
                "category_id": int(rng.integers(1, 81)),
                "bbox": np.concatenate([corner, sides]).round(2).tolist(),
                "area": round(0.75 * float(sides.prod()), 4),
                "iscrowd": int(rng.random() < 0.01),
                "segmentation": [(corner + sides * circle).round(2).ravel().tolist()],
            }


if __name__ == "__main__":
    main()
