"""Training crops per second: densekit's loader against MMSegmentation's, same files and workers.

    python benchmarks/segmentation_loader.py PATH [--samples 200] [--workers 0]

PATH holds ``images/train/*.jpg`` and index masks ``masks/train/*.png``. Each side goes through the same number of
samples in this process, alternately, three times; the best of each counts.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope

import densekit  # noqa: F401  mmcv's compiled operators without a compiler
from densekit.datasets.segmentation import prepare_segmentation
from densekit.datasets.segmentation.dataset import SegmentationDataset

CROP = (512, 512)


def transforms(library: str) -> list[dict]:
    """The default pipeline, with the crop and the colours of one of the two: the same values either way."""
    return [
        {"type": "RandomResize", "scale": (2048, 512), "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": f"{library}.RandomCrop", "crop_size": CROP, "cat_max_ratio": 0.75},
        {"type": "mmseg.RandomFlip", "prob": 0.5},
        {"type": f"{library}.PhotoMetricDistortion"},
    ]


def peer(root: Path, classes: tuple[str, ...]):
    """MMSegmentation's data set."""
    from mmseg.datasets import BaseSegDataset

    return BaseSegDataset(
        data_root=str(root),
        metainfo={"classes": classes},
        data_prefix={"img_path": "images/train", "seg_map_path": "masks/train"},
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations"},
            *transforms("mmseg"),
            {"type": "PackSegInputs"},
        ],
    )


def rate(dataset, samples: int, workers: int) -> float:
    """Samples per second."""
    np.random.seed(0)
    chosen = torch.utils.data.Subset(dataset, [i % len(dataset) for i in range(samples)])
    loader = torch.utils.data.DataLoader(chosen, batch_size=None, num_workers=workers)
    start = time.perf_counter()
    for _ in loader:
        pass
    return samples / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    from mmseg.utils import register_all_modules

    register_all_modules()
    data = prepare_segmentation(given.path)
    with DefaultScope.overwrite_default_scope("mmseg"):
        sides = {
            "densekit": SegmentationDataset(data, "train", transforms("densekit"), test=False),
            "MMSegmentation": peer(given.path, tuple(data.classes)),
        }
        best = dict.fromkeys(sides, 0.0)
        for _ in range(3):
            for name, dataset in sides.items():
                best[name] = max(best[name], rate(dataset, given.samples, given.workers))
    for name, value in best.items():
        print(f"{name:<16} {value:8.1f} crops/s")
    ratio = best["densekit"] / best["MMSegmentation"]
    print(f"ratio {ratio:.2f}, {given.workers} workers, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
