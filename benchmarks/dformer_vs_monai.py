"""D-Former against MONAI's UNETR and Swin UNETR: seconds and peak memory of one forward and backward pass.

    python benchmarks/dformer_vs_monai.py                      # 1x1x64x128x128 on the CPU
    python benchmarks/dformer_vs_monai.py --device cuda --amp

Every network runs in processes of its own, several times, in turn (A B C A B C ...), so that a change of the machine's
load hits all alike. A process makes one pass to warm up and then timed ones; it reports the median of their seconds, of
the CPU seconds they took (of all threads; the steadier figure on a busy machine), and by how much its peak memory
(resident memory on the CPU, allocated memory on a GPU) exceeds what it held before the network was made: weights,
activations and gradients. The table gives the medians over the processes and the ratios to the first row.

The loss is the same for all: cross-entropy against a random label map, at full resolution, and for the row with deep
supervision at all three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZE, CLASSES = (64, 128, 128), 14
NETWORKS = {
    "dformer": "D-Former",
    "dformer-deep": "D-Former, deep supervision (3 outputs)",
    "dformer-checkpoint": "D-Former, activation checkpointing",
    "unetr": "MONAI UNETR (feature size 16)",
    "swinunetr": "MONAI Swin UNETR (feature size 48)",
}


def build(name: str, size: tuple[int, int, int]):
    """The network of that name."""
    if name.startswith("dformer"):
        from densekit.models.assemblies import VolumeSegmentor
        from densekit.models.backbones import DFormer
        from densekit.models.heads import PatchExpandingHead
        from densekit.models.necks import DFormerDecoder

        checkpoint = name == "dformer-checkpoint"
        head = PatchExpandingHead(num_classes=CLASSES, deep_supervision=3 if name == "dformer-deep" else 1)
        return VolumeSegmentor(DFormer(checkpoint=checkpoint), neck=DFormerDecoder(checkpoint=checkpoint), head=head)
    from monai.networks.nets import UNETR, SwinUNETR

    if name == "unetr":
        return UNETR(in_channels=1, out_channels=CLASSES, img_size=size)
    return SwinUNETR(in_channels=1, out_channels=CLASSES, feature_size=48)


def measure(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds per pass and peak memory in MB of one network, in this process."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    cuda = args.device.startswith("cuda")
    build(name, args.size)  # for its imports, which belong to what is held before
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if cuda else resident_now()
    network = build(name, args.size).to(args.device).train()
    volume = torch.randn(1, 1, *args.size, device=args.device)
    label = torch.randint(CLASSES, (1, *args.size), device=args.device)
    timed = [one_pass(network, volume, label, args.amp) for _ in range(args.passes + 1)][1:]
    peak = torch.cuda.max_memory_allocated() if cuda else peak_resident()
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds": statistics.median(wall for wall, _ in timed),
        "cpu_seconds": statistics.median(cpu for _, cpu in timed),
        "peak_mb": (peak - held) / 2**20,
    }


def one_pass(network, volume, label, amp: bool) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads, of one forward and backward pass."""
    import torch
    from torch.nn.functional import cross_entropy

    network.zero_grad(set_to_none=True)
    start, cpu_start = time.perf_counter(), time.process_time()
    with torch.autocast(volume.device.type, torch.bfloat16, enabled=amp):
        outputs = network(volume)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        loss = sum(cross_entropy(o, label[:, :: 2**i, :: 2**i, :: 2**i]) for i, o in enumerate(outputs))
    loss.backward()
    if volume.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu_start


def resident_now() -> int:
    """Resident memory of this process in bytes (where the system does not tell: the peak so far)."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else peak_resident()


def peak_resident() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def print_table(runs: dict[str, list[dict[str, float]]]) -> None:
    """Medians over the processes of each network, and their ratios to the first network's."""
    rows = {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]} for name, results in runs.items()
    }
    first = next(iter(rows.values()))
    print(f"{'':<40}{'M param.':>9}{'seconds':>10}{'ratio':>7}{'CPU s':>10}{'ratio':>7}{'peak MB':>10}{'ratio':>7}")
    for name, row in rows.items():
        cells = "".join(
            f"{row[key]:>10.{digits}f}{row[key] / first[key]:>7.2f}"
            for key, digits in (("seconds", 2), ("cpu_seconds", 2), ("peak_mb", 0))
        )
        print(f"{NETWORKS[name]:<40}{row['parameters'] / 1e6:>9.2f}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--amp", action="store_true", help="bf16 autocast")
    parser.add_argument("--size", type=int, nargs=3, default=SIZE, metavar=("D", "H", "W"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=2, help="processes per network")
    parser.add_argument("--passes", type=int, default=2, help="timed passes per process")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--one", choices=NETWORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args)))
        return
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in args.networks}
    # As `densekit train` sets it: threads that wait must not burn the core that another process, or thread, needs.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    for _ in range(args.rounds):
        for name, results in runs.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    shape, precision = "x".join(map(str, (1, 1, *args.size))), "bf16" if args.amp else "fp32"
    print(f"forward + backward, {shape}, {CLASSES} classes, {args.device}, {precision}; ratios to the first row")
    print_table(runs)


if __name__ == "__main__":
    main()
