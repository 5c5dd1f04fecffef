"""Seconds of ``densekit check`` for a COCO data set of 100,000 images.

    python benchmarks/detection_check.py
    python benchmarks/detection_check.py --images 20000 --objects 7 --points 20

A made-up set in a temporary folder: JSON like COCO's train2017 (7 objects per image, each with a polygon of 20 points)
and a smaller one for val2017, and its image files: copies of a few small JPEGs with different bytes behind their end,
so that every file has a header to read and none is a copy of another. The parts are timed apart in one process, then
``check_detection`` as a whole with its page and an empty cache, and again with the cache it left. Peer: pycocotools'
``COCO(file)``, which only parses and indexes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="training images; a twentieth more for validation")
    parser.add_argument("--objects", type=int, default=7, help="objects per image, on average")
    parser.add_argument("--points", type=int, default=20, help="points of an outline; 0: boxes only")
    parser.add_argument("--no-files", action="store_true", help="JSON only, without image files")
    parser.add_argument("--no-peer", action="store_true", help="leave pycocotools out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "coco"
        for split, count in (("train2017", args.images), ("val2017", args.images // 20)):
            write_split(root, split, count, args)
        measure(root, Path(folder) / "cache", args)


def write_split(root: Path, split: str, count: int, args: argparse.Namespace) -> None:
    """Write the JSON of one split, and its images."""
    rng = np.random.default_rng(len(split))
    sizes = [(640, 480), (480, 640), (500, 375), (640, 427)]
    images = [
        {"id": n + 1, "file_name": f"{n:012d}.jpg", "width": sizes[n % 4][0], "height": sizes[n % 4][1]}
        for n in range(count)
    ]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    content = {
        "images": images,
        "annotations": list(objects(images, rng, args)),
        "categories": [{"id": n + 1, "name": f"thing {n:02d}", "supercategory": "thing"} for n in range(CLASSES)],
    }
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content))
    print(f"{file.name}: {count:,} images, {len(content['annotations']):,} objects, {file.stat().st_size / 1e6:.0f} MB")
    if not args.no_files:
        (root / split).mkdir()
        copy_images(root, split, images, sizes, rng)


def objects(images: list[dict], rng: np.random.Generator, args: argparse.Namespace) -> Iterator[dict]:
    """Boxes of all sizes, a few of them over the border or without extent, with an outline in each."""
    number = 0
    circle = np.linspace(0, 2 * np.pi, max(args.points, 1), endpoint=False)
    outline = np.stack([np.cos(circle), np.sin(circle)], axis=1) / 2 + 0.5
    for image, count in zip(images, rng.poisson(args.objects, len(images)), strict=True):
        size = np.array([image["width"], image["height"]])
        sides = np.minimum(np.exp(rng.normal(3.7, 1.0, (count, 2))) + 2, size - 1)
        corner = rng.random((count, 2)) * (size - sides)
        for xy, wh, label in zip(corner, sides, rng.integers(1, CLASSES + 1, count), strict=True):
            number += 1
            wh = wh * (number % 5000 > 0) + 30 * (number % 3000 == 0)
            annotation = {
                "id": number,
                "image_id": image["id"],
                "category_id": int(label),
                "bbox": [round(v, 2) for v in (*xy.tolist(), *wh.tolist())],
                "area": round(float(wh.prod()), 2),
                "iscrowd": 0,
            }
            if args.points:
                annotation["segmentation"] = [np.round(xy + outline * wh, 2).ravel().tolist()]
            yield annotation


def copy_images(root: Path, split: str, images: list[dict], sizes: list[tuple[int, int]], rng) -> None:
    """Write small JPEGs of the right sizes, each with bytes of its own behind the end mark."""
    masters = []
    for size in sizes:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(size).save(buffer, "JPEG", quality=60)
        masters.append(buffer.getvalue())
    for n, image in enumerate(images):
        (root / split / image["file_name"]).write_bytes(masters[n % 4] + rng.bytes(8 + n % 500))


def measure(root: Path, cache: Path, args: argparse.Namespace) -> None:
    from densekit.datasets.detection import check_detection, read, recognize
    from densekit.datasets.detection.findings import Findings
    from densekit.datasets.detection.inspection import summarize
    from densekit.datasets.detection.quality import check_quality
    from densekit.visualization.detection.dataset_report import write_dataset_report

    rows = []
    with timed("recognise", rows):
        source = recognize(root)
    with timed("read: JSON, headers, repairs", rows):
        dataset = read(source)
    with timed("checks over the whole", rows):
        check_quality(dataset, Findings.of(dataset.findings))
    with timed("summary", rows):
        summarize(dataset)
    del dataset
    with timed("check_detection, nothing cached", rows), contextlib.redirect_stdout(io.StringIO()) as table:
        inspection = check_detection(root, cache=cache)
        write_dataset_report(cache / "check.html", inspection)
    with timed("check_detection, cached", rows), contextlib.redirect_stdout(io.StringIO()):
        check_detection(root, cache=cache)
    if not args.no_peer:
        from pycocotools.coco import COCO

        with timed("pycocotools COCO(train), index only", rows), contextlib.redirect_stdout(io.StringIO()):
            COCO(root / "annotations" / "instances_train2017.json")
    print(table.getvalue().split("\n\n", 3)[-1])
    print(f"exit status {inspection.status}\n\n{'':38}{'wall s':>8}{'CPU s':>8}")
    for name, wall, cpu in rows:
        print(f"{name:38}{wall:8.1f}{cpu:8.1f}")
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB; load {os.getloadavg()[0]:.1f}"
    )


@contextlib.contextmanager
def timed(name: str, rows: list) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    rows.append((name, time.perf_counter() - wall, time.process_time() - cpu))


if __name__ == "__main__":
    main()
