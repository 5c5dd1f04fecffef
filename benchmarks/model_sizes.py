"""Parameters and multiply-accumulates of the networks of the 3D configs, on one patch each.

    python benchmarks/model_sizes.py
    python benchmarks/model_sizes.py configs/dformer_synapse.py --classes 9

Counted without computing anything (on the meta device) by torch's own counter (matrix products and convolutions, no
norms or activations), at inference: one output head, batch 1. Figures of other papers differ by up to 10 % with the
counter they used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from densekit.models.assemble import model_config
from densekit.registry import MODELS
from densekit.tasks import load_config

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {"synapse": 14, "acdc": 4, "hippocampus": 3, "phantom": 9}


def sizes(path: Path, classes: int) -> tuple[int, int, float]:
    """Parameters in training (with deep-supervision heads), parameters used at inference, GMACs on its patch."""
    config = load_config(path)
    network = MODELS.build(model_config(config.model, classes, in_channels=1)).eval().to("meta")
    total = sum(p.numel() for p in network.parameters())
    unused = sum(p.numel() for c in getattr(network.head, "classifiers", [])[1:] for p in c.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 1, *config.patch_size, device="meta"))
    return total, total - unused, counter.get_total_flops() / 2e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", type=Path, help="default: all 3D configs")
    parser.add_argument("--classes", type=int, help="with the background; default: the data set's")
    args = parser.parse_args()
    paths = args.configs or [p for p in sorted(CONFIGS.glob("*.py")) if p.stem.rpartition("_")[2] in CLASSES]
    print(f"{'config':<28}{'patch':>14}{'classes':>9}{'M params':>10}{'inference':>11}{'GMACs':>8}")
    for path in paths:
        classes = args.classes or CLASSES[path.stem.rpartition("_")[2]]
        total, used, gmacs = sizes(path, classes)
        patch = "x".join(str(n) for n in load_config(path).patch_size)
        print(f"{path.stem:<28}{patch:>14}{classes:>9}{total / 1e6:>10.2f}{used / 1e6:>11.2f}{gmacs:>8.2f}")


if __name__ == "__main__":
    main()
