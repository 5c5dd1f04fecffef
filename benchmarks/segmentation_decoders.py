"""Time of one forward pass of decoders alone, on the same maps: VWFormer against SegFormer's MLP and UPerNet.

    python benchmarks/segmentation_decoders.py [--backbone mit_b2] [--side 512] [--runs 5]

All have 150 classes and the published widths; random maps and weights, eval mode, the median of the runs.
"""

import argparse
import statistics
import time

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import densekit as dk
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.registry import MODELS

HEADS = ("segformer", "vwformer", "upernet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mit_b2")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    times = {}
    print(f"{'decoder':<12} {'M parameters':>12} {'GMACs':>8} {'ms':>8}")
    for name in HEADS:
        config = ConfigDict(dk.assemble(backbone=given.backbone, head=name, num_classes=150, pretrained=False))
        with DefaultScope.overwrite_default_scope("mmseg"):
            with on_meta():
                model = MODELS.build(config).eval()
            maps = model.backbone(torch.empty(1, 3, given.side, given.side, device="meta"))
            head = MODELS.build(config.decode_head).eval()
            macs = multiply_accumulates(model.decode_head, maps)
        maps = [torch.randn(m.shape) for m in maps]
        took = []
        with torch.inference_mode():
            head(maps)
            for _ in range(given.runs):
                start = time.perf_counter()
                head(maps)
                took.append(time.perf_counter() - start)
        times[name] = statistics.median(took)
        print(f"{name:<12} {parameter_count(head) / 1e6:12.2f} {macs / 1e9:8.1f} {1000 * times[name]:8.0f}")
    for name in HEADS:
        if name != "vwformer":
            print(f"vwformer / {name}: {times['vwformer'] / times[name]:.2f}")
    print(
        f"{given.backbone}, {given.side} x {given.side}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
