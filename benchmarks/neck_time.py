"""Time of necks, and of necks with the head they go with, against an FPN with RetinaNet's towers.

    python benchmarks/neck_time.py [--size 320 512] [--images 1] [--repeats 5] [--device cpu]

Forward pass of random maps of a ResNet-50; seconds of one CPU core (process time) or of the GPU (synchronised), the
smallest of the repeats. SEPC takes the place of the towers, so the second column is what a detector pays.
"""

import argparse
import time

import torch

import densekit  # noqa: F401  mmcv's operators without a compiler
from densekit.models.assemble import assemble

NECKS = {
    "FPN": ("FPN", "RetinaHead"),
    "PAFPN": ("PAFPN", "RetinaHead"),
    "PANet": ("PANetNeck", "RetinaHead"),
    "RCNet": ("RCFPN", "RetinaHead"),
    "PConv": (
        ["FPN", {"type": "SEPC", "ibn": False, "pconv_deform": False, "lcconv_deform": False}],
        "SEPCRetinaHead",
    ),
    "SEPC-lite": (["FPN", {"type": "SEPC", "pconv_deform": False}], "SEPCRetinaHead"),
    "SEPC": (["FPN", "SEPC"], "SEPCRetinaHead"),
}
STRIDES = (4, 8, 16, 32)


@torch.no_grad()
def seconds(function, device: str, repeats: int) -> float:
    """Smallest time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.process_time() if device == "cpu" else time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((time.process_time() if device == "cpu" else time.perf_counter()) - start)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from mmdet.registry import MODELS

    height, width = options.size
    maps = [
        torch.randn(options.images, 256 << i, height // s, width // s, device=options.device)
        for i, s in enumerate(STRIDES)
    ]
    print(f"{options.images} image(s) of {height}x{width} on {options.device}")
    print("| neck | neck (ms) | against FPN | with its head (ms) | against FPN |\n|---|---:|---:|---:|---:|")
    base = None
    for name, (neck, head) in NECKS.items():
        config = assemble(backbone="resnet50", neck=neck, head=head, num_classes=80)
        parts = [MODELS.build(config[key]).to(options.device).eval() for key in ("neck", "bbox_head")]
        alone = seconds(lambda: parts[0](maps), options.device, options.repeats)  # noqa: B023  called at once
        whole = seconds(lambda: parts[1](parts[0](maps)), options.device, options.repeats)  # noqa: B023
        base = base or (alone, whole)
        print(
            f"| {name} | {1e3 * alone:.1f} | {alone / base[0]:.2f} | {1e3 * whole:.1f} | {whole / base[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
