"""Time and peak memory of a GeoTIFF that goes by tiles, above what the process needs for a small image.

    python benchmarks/segmentation_large_image.py [--side 10000] [--classes 6]

SegFormer-B0 with random weights, one CPU thread; the image is made first, in parts, in a temporary folder.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from segmentation_inference import BACKBONE, HEAD, PREPROCESSING

from densekit.config_tree import plain
from densekit.package import load_checkpoint
from densekit.package.checkpoint import write_checkpoint
from densekit.registry import MODELS
from densekit.tasks import predict


def make_checkpoint(path: Path, classes: int) -> None:
    """A checkpoint of the network, untrained."""
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    config = {"type": "densekit.SemanticSegmentor", "data_preprocessor": PREPROCESSING, "backbone": BACKBONE}
    config["decode_head"] = {**HEAD, "num_classes": classes}
    config["test_cfg"] = {"mode": "whole"}
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(ConfigDict(config))
    write_checkpoint(
        path,
        task="segmentation",
        model_config=plain(config),
        preprocessing={"pipeline": [], "channels": 3, "ranges": {}, "colours": None},
        labels=[f"class {label}" for label in range(classes)],
        inference={"crop": [512, 512], "stride": [384, 384]},
        state_dict=model.state_dict(),
        meta={},
    )


def make_image(path: Path, side: int) -> None:
    """A GeoTIFF of noise in large patches, half a metre a pixel."""
    layout = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "compress": "deflate"}
    layout |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "crs": "EPSG:32640"}
    draw = np.random.default_rng(0)
    with rasterio.open(path, "w", **layout, transform=rasterio.Affine(0.5, 0, 3e5, 0, -0.5, 2.8e6)) as file:
        for top in range(0, side, 256):
            rows = min(256, side - top)
            patches = draw.integers(0, 256, (3, 1, side // 64 + 1), np.uint8)
            band = np.repeat(np.repeat(patches, 64, 2)[..., :side], rows, 1)
            file.write(band, window=Window(0, top, side, rows))


def main() -> None:
    """Predict a small image, then the large one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoint(folder / "best.pth", options.classes)
        for side, image in ((512, "small.tif"), (options.side, "large.tif")):
            make_image(folder / image, side)
            start, before = time.perf_counter(), _peak()
            result = predict(load_checkpoint(folder / "best.pth"), folder / image, folder / image[:5], device="cpu")
            seconds = time.perf_counter() - start
            print(
                f"{side} x {side}: {seconds:.0f} s, {_peak() - before:.0f} MB more, {_peak():.0f} MB in all", flush=True
            )
        with rasterio.open(folder / "large" / "masks" / "large.tif") as mask:
            print(f"written: {mask.width} x {mask.height}, {mask.crs}; {result.rows[0].facts['notes']}")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
