"""Time and peak memory of one prediction at 150 classes, against stock MMSegmentation with the same weights.

    python benchmarks/segmentation_inference.py [--size 2048 1024] [--mode whole|slide] [--runs 3]

SegFormer-B0 of MMSegmentation on one CPU thread; each side in a process of its own. Printed: seconds (the fastest run),
peak resident memory above that before the first prediction, the ratios, and the pixels that differ.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PREPROCESSING = {"type": "SegDataPreProcessor", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
BACKBONE = {
    **{"type": "mmseg.MixVisionTransformer", "embed_dims": 32, "num_layers": [2] * 4, "num_heads": [1, 2, 5, 8]},
    **{"sr_ratios": [8, 4, 2, 1], "patch_sizes": [7, 3, 3, 3], "out_indices": (0, 1, 2, 3), "mlp_ratio": 4},
    **{"qkv_bias": True, "drop_path_rate": 0.1},
}
HEAD = {
    **{"type": "SegformerHead", "in_channels": [32, 64, 160, 256], "in_index": [0, 1, 2, 3], "channels": 256},
    **{"num_classes": 150, "align_corners": False, "norm_cfg": {"type": "BN"}},
    **{"loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True}},
}
SIDES = {"mmseg.EncoderDecoder": "MMSegmentation", "densekit.SemanticSegmentor": "densekit"}


def build(kind: str, mode: str):
    """The network with the same random weights, whichever kind."""
    import torch
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    from densekit.registry import MODELS

    settings = {"mode": mode, "stride": (341, 341)}
    settings |= {"crop_size": (512, 512)} if kind.startswith("mmseg") else {"crop": (512, 512), "blend": "mean"}
    torch.manual_seed(0)
    parts = {"data_preprocessor": PREPROCESSING, "backbone": BACKBONE, "decode_head": HEAD, "test_cfg": settings}
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(ConfigDict({"type": kind, **parts}))
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    return model.eval()


def measure(kind: str, size: tuple[int, int], mode: str, runs: int, out: Path) -> None:
    """One side: write its labels, print its figures as JSON."""
    import torch
    from mmengine.registry import DefaultScope
    from mmseg.structures import SegDataSample

    torch.set_num_threads(1)
    model = build(kind, mode)
    image = torch.randint(0, 256, (3, size[1], size[0]), dtype=torch.uint8, generator=torch.manual_seed(1))
    before, seconds = _peak(), []
    with torch.no_grad(), DefaultScope.overwrite_default_scope("mmseg"):
        for _ in range(runs):
            sample = SegDataSample(metainfo={"ori_shape": image.shape[1:], "img_shape": image.shape[1:]})
            start = time.perf_counter()
            found = model.test_step({"inputs": [image], "data_samples": [sample]})[0]
            seconds.append(time.perf_counter() - start)
    np.save(out, found.pred_sem_seg.data[0].numpy().astype(np.uint8))
    print(json.dumps({"seconds": min(seconds), "mb": _peak() - before}))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run both sides, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(2048, 1024), help="width and height")
    parser.add_argument("--mode", choices=("whole", "slide"), default="whole")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = tuple(options.size)
    if options.side:
        measure(options.side[0], size, options.mode, options.runs, Path(options.side[1]))
        return
    figures, labels = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, name) in enumerate(SIDES.items()):
            out = Path(folder) / f"{number}.npy"
            side = [sys.executable, __file__, "--mode", options.mode, "--runs", str(options.runs)]
            side += ["--size", *map(str, size), "--side", kind, str(out)]
            printed = subprocess.run(side, capture_output=True, text=True, check=True).stdout
            figures[name] = json.loads(printed.splitlines()[-1])
            labels.append(np.load(out))
            print(f"{name:<15} {figures[name]['seconds']:7.2f} s {figures[name]['mb']:8.0f} MB", flush=True)
    ours, theirs = figures["densekit"], figures["MMSegmentation"]
    ratios = f"{ours['seconds'] / theirs['seconds']:.2f} of the time, {ours['mb'] / theirs['mb']:.2f} of the memory"
    print(f"densekit: {ratios}; {(labels[0] != labels[1]).sum()} of {labels[0].size} pixels differ")


if __name__ == "__main__":
    main()
