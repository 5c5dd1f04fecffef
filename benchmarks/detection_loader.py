"""Images per second that the training loader gives, for boxes and for masks, against MMDetection's stock one.

Both read the same synthetic COCO data (JPEG of 640x480, 8 outlined objects each) with the published transforms (long
side 1333, short side 800, horizontal flip). What is ours besides: reading that turns every format upright and refuses a
cut file, random numbers by item, and batches that are always full. Printed: images per second and the ratio, the two
loaders taking turns, the best of the rounds; per second of CPU time without worker processes, of the clock with two.

    python benchmarks/detection_loader.py [--images 48] [--rounds 3]
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import densekit  # noqa: F401  before mmdet
from densekit.tasks import load_config, make_plan

CONFIGS = {"boxes": "faster-rcnn-fpn-r50_coco.py", "masks": "mask-rcnn-fpn-r50_coco.py"}
BATCH = 2


def make_data(root: Path, images: int) -> None:
    """COCO layout with smooth noise and ellipses."""
    rng = np.random.default_rng(0)
    for split, number in (("train", images), ("val", 2)):
        (root / f"{split}2017").mkdir(parents=True)
        entries, annotations = [], []
        for n in range(number):
            noise = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((640, 480))
            draw = ImageDraw.Draw(noise)
            for _ in range(8):
                w, h = (int(v) for v in rng.integers(40, 160, 2))
                x, y = int(rng.integers(0, 640 - w)), int(rng.integers(0, 480 - h))
                draw.ellipse((x, y, x + w, y + h), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
                turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
                outline = np.stack([x + w / 2 + w / 2 * np.cos(turns), y + h / 2 + h / 2 * np.sin(turns)], axis=1)
                entry = {"id": len(annotations) + 1, "image_id": n + 1, "category_id": 1, "bbox": [x, y, w, h]}
                entry |= {"area": w * h, "iscrowd": 0, "segmentation": [outline.round(2).ravel().tolist()]}
                annotations.append(entry)
            noise.save(root / f"{split}2017" / f"{n}.jpg", quality=92)
            entries.append({"id": n + 1, "file_name": f"{n}.jpg", "width": 640, "height": 480})
        content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "ball"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def stock_loader(root: Path, masks: bool, workers: int):
    """MMDetection's own, as its base configs write it."""
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": masks},
        {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PackDetInputs"},
    ]
    with DefaultScope.overwrite_default_scope("mmdet"), redirect_stdout(io.StringIO()):
        return Runner.build_dataloader(
            {
                "batch_size": BATCH,
                "num_workers": workers,
                "persistent_workers": workers > 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "batch_sampler": {"type": "AspectRatioBatchSampler"},
                "dataset": {
                    "type": "CocoDataset",
                    "data_root": str(root),
                    "ann_file": "annotations/instances_train2017.json",
                    "data_prefix": {"img": "train2017/"},
                    "metainfo": {"classes": ("ball",)},
                    "pipeline": pipeline,
                },
            },
            seed=0,
        )


def our_loader(root: Path, kind: str, workers: int, cache: Path):
    """That of ``densekit train``."""
    import os

    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    os.environ["XDG_CACHE_HOME"] = str(cache)
    config = Path(__file__).parents[1] / "configs" / CONFIGS[kind]
    plan = make_plan(load_config(config, [f"batch_size={BATCH}", f"num_workers={workers}"]), root)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return Runner.build_dataloader(plan.train_loader(), seed=0)


def rate(loader) -> float:
    """Images per second of one epoch."""
    now = time.perf_counter if loader.num_workers else time.process_time
    start = now()
    images = sum(len(batch["inputs"]) for batch in loader)
    return images / (now() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        make_data(root, arguments.images)
        print(f"{'':6} {'workers':>7} {'MMDetection':>12} {'densekit':>9} {'ratio':>6}   images per second")
        for kind in CONFIGS:
            for workers in (0, 2):
                loaders = {
                    "stock": stock_loader(root, kind == "masks", workers),
                    "ours": our_loader(root, kind, workers, Path(folder) / "cache"),
                }
                for loader in loaders.values():
                    rate(loader)  # workers start, files come into the cache of the system
                best = dict.fromkeys(loaders, 0.0)
                for _ in range(arguments.rounds):
                    for name, loader in loaders.items():
                        best[name] = max(best[name], rate(loader))
                ratio = best["ours"] / best["stock"]
                print(f"{kind:6} {workers:7} {best['stock']:12.1f} {best['ours']:9.1f} {ratio:5.2f}x", flush=True)


if __name__ == "__main__":
    main()
