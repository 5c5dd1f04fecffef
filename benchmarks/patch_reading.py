"""Training patches per second and memory: VolumePatchDataset against MONAI's CacheDataset and PersistentDataset.

    python benchmarks/patch_reading.py
    python benchmarks/patch_reading.py --cases 16 --shape 200 512 512 --patch 64 128 128 --patches 400

Every contender runs in a process of its own, on the same volumes (made up, CT-like, in a temporary folder), with the
same number of workers, the same share of foreground patches and the same augmentation (densekit's nnU-Net pipeline,
which reads real context around a patch that it rotates; in MONAI's crops it finds none and fills in).
MONAI's get what makes them fast: foreground indices computed beforehand, RandCropByPosNegLabeld drawing as many
patches from a loaded volume as a batch has (ours draws a case for each), no copy of the cache, persistent workers.
"crop only" leaves the augmentation out. Ratios are to densekit. CPU ms is per patch, all processes together; it says
more than patches/s where other programs are running.

Memory is that of the process and its workers after the measurement, as Linux counts it. PSS divides pages that several
processes share (memory maps, what a fork inherits) among them; USS counts only what a process has alone. Pages of a
memory map count as long as the system has room for them; they are given back when it has not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

CONTENDERS = ("densekit", "CacheDataset", "PersistentDataset")
LABELS = ("background", "body", "organ", "vessel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 256, 256), metavar=("D", "H", "W"))
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 128, 128), metavar=("D", "H", "W"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patches", type=int, default=200, help="patches that are timed")
    parser.add_argument("--one", nargs=2, metavar=("CONTENDER", "AUGMENT"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args, args.one[0], args.one[1] == "augment")))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), args.cases, tuple(args.shape))
        for augment in ("augment", "crop"):
            rows = {name: run_alone(args, name, augment, folder) for name in CONTENDERS}
            print_table(rows, "full augmentation" if augment == "augment" else "crop only", args)


def prepare(folder: Path, cases: int, shape: tuple[int, int, int]) -> None:
    """Write the volumes as NIfTI and as a densekit store."""
    from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
    from densekit.datasets.volume.store import write_store
    from densekit.io import Geometry, write_image, write_label

    geometry = Geometry(shape[::-1], np.diag([-0.8, -0.8, 3.0, 1.0]))
    described = []
    for number in range(cases):
        image, label = made_up_ct(shape, seed=number)
        paths = folder / f"image{number}.nii.gz", folder / f"label{number}.nii.gz"
        write_image(paths[0], image, geometry)
        write_label(paths[1], label, geometry, like=None, names=None)
        described.append(CaseSource(f"case{number}", (paths[0],), paths[1], "train"))
    source = SourceDataset("made up", "folder", ("CT",), LABELS, tuple(described), spacing=None)
    started = time.perf_counter()
    write_store(source, folder / "store")
    print(f"{cases} volumes of {shape}; densekit store written in {time.perf_counter() - started:.1f} s")


def made_up_ct(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body with an organ and a vessel in noise, in HU."""
    rng = np.random.default_rng(seed)
    d, h, w = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    label = np.zeros(shape, dtype=np.uint8)
    label[np.broadcast_to(h**2 / 0.5 + w**2 / 0.8 < 1, shape)] = 1
    centre = rng.uniform(-0.3, 0.3, 3)
    label[(d - centre[0]) ** 2 / 0.3 + (h - centre[1]) ** 2 / 0.06 + (w - centre[2]) ** 2 / 0.08 < 1] = 2
    label[np.broadcast_to(h**2 + (w + 0.1) ** 2 < 0.004, shape)] = 3
    noise = rng.integers(-25, 26, shape, dtype=np.int16)
    return np.array([-1000, 40, 110, 180], dtype=np.int16)[label] + noise, label


def run_alone(args: argparse.Namespace, name: str, augment: str, folder: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", name, augment, "--folder", folder]
    for option in ("cases", "shape", "patch", "batch", "workers", "patches"):
        value = getattr(args, option)
        command += [f"--{option}", *(map(str, value) if isinstance(value, (tuple, list)) else [str(value)])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace, name: str, augment: bool) -> dict[str, float]:
    """Build a contender's loader, warm it up, time it, and look at the memory of its processes."""
    started = time.perf_counter()
    loader = (densekit_loader if name == "densekit" else monai_loader)(args, name, augment)
    batches = cycle_batches(loader)
    for _ in range(max(4 * args.workers, args.cases // args.batch + 1)):
        next(batches)
    setup, started, cpu = time.perf_counter() - started, time.perf_counter(), cpu_seconds()
    count = 0
    while count < args.patches:
        batch = next(batches)
        count += len(batch["inputs"])
        assert tuple(batch["inputs"].shape[2:]) == tuple(args.patch)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    pss, uss = memory_of_tree()
    return {"setup": setup, "rate": count / seconds, "cpu": cpu / count, "pss": pss, "uss": uss}


def cycle_batches(loader: Any):
    for _ in cycle([None]):
        yield from loader


def augmentation(args: argparse.Namespace, augment: bool) -> list[dict]:
    from densekit.datasets.transforms import nnunet_augmentation

    return nnunet_augmentation(args.patch, labels=LABELS) if augment else []


def densekit_loader(args: argparse.Namespace, name: str, augment: bool):
    from torch.utils.data import DataLoader

    from densekit.datasets.volume.dataset import VolumePatchDataset
    from densekit.datasets.volume.sampler import VolumePatchSampler

    dataset = VolumePatchDataset(
        args.folder / "store",
        "train",
        args.patch,
        augmentation(args, augment),
        batch_size=args.batch,
        length=args.batch * 1000,
    )
    return DataLoader(
        dataset,
        batch_size=args.batch,
        sampler=VolumePatchSampler(dataset),
        num_workers=args.workers,
        persistent_workers=True,
    )


class Augment:
    """densekit's pipeline on MONAI's sample, seeded from its own random state as MONAI's transforms are."""

    def __init__(self, transforms: list[dict]) -> None:
        from densekit.datasets.transforms import Pipeline

        self.pipeline = Pipeline(transforms)

    def __call__(self, sample: dict) -> dict:
        plain = {key: sample[key].as_tensor() for key in ("inputs", "label")}
        return self.pipeline(plain)


def monai_loader(args: argparse.Namespace, name: str, augment: bool):
    from monai import data
    from monai import transforms as mt

    from densekit.datasets.volume.store import open_store

    preprocessing = open_store(args.folder / "store").preprocessing
    keys = ("inputs", "label")
    chain = [
        mt.LoadImaged(keys),
        mt.EnsureChannelFirstd(keys),
        mt.Orientationd(keys, axcodes="SPL", labels=None),
        mt.CastToTyped(keys, dtype=(np.float32, np.uint8)),
        mt.Lambdad("inputs", lambda image: preprocessing.normalize(image, [])),
        mt.FgBgToIndicesd("label"),
        mt.RandCropByPosNegLabeld(
            keys,
            "label",
            spatial_size=args.patch,
            pos=1,
            neg=2,
            num_samples=args.batch,
            fg_indices_key="label_fg_indices",
            bg_indices_key="label_bg_indices",
        ),
        mt.SelectItemsd(keys),
        Augment(augmentation(args, augment)),
    ]
    paths = sorted(args.folder.glob("image*.nii.gz"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    items = [{"inputs": str(p), "label": str(p).replace("/image", "/label")} for p in paths]
    items *= 1000 // len(items)  # one long epoch; the caches hold each volume once
    if name == "CacheDataset":
        dataset = data.CacheDataset(
            items, mt.Compose(chain), hash_as_key=True, copy_cache=False, num_workers=1, progress=False
        )
    else:
        dataset = data.PersistentDataset(items, mt.Compose(chain), cache_dir=args.folder / "persistent")
        for index in range(len(paths)):
            dataset[index]
    return data.DataLoader(dataset, batch_size=1, shuffle=True, num_workers=args.workers, persistent_workers=True)


def processes() -> list[Path]:
    """Return the folders under /proc of this process and its workers."""
    return [Path(f"/proc/{pid}") for pid in ("self", *(child.pid for child in multiprocessing.active_children()))]


def cpu_seconds() -> float:
    """Return the CPU time that this process and its workers have had."""
    stats = [(process / "stat").read_text().rpartition(")")[2].split() for process in processes()]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def memory_of_tree() -> tuple[float, float]:
    """Return PSS and USS in MB of this process and its workers together, as Linux counts them."""
    pss = uss = 0
    for process in processes():
        rollup = (process / "smaps_rollup").read_text()
        kilobytes = {name: int(value) for name, value in re.findall(r"(\w+): +(\d+) kB", rollup)}
        pss += kilobytes["Pss"]
        uss += kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return pss / 1000, uss / 1000


def print_table(rows: dict[str, dict[str, float]], title: str, args: argparse.Namespace) -> None:
    ours = rows["densekit"]
    print(f"\n{title}; patch {tuple(args.patch)}, batch {args.batch}, {args.workers} workers, one run")
    heads = ("patches/s", "ratio", "CPU ms", "ratio", "PSS MB", "ratio", "USS MB", "setup s")
    print(f"{'':20}" + "".join(f"{head:>10}" for head in heads))
    for name, row in rows.items():
        cells = [
            f"{row['rate']:.1f}",
            f"{row['rate'] / ours['rate']:.2f}",
            f"{row['cpu'] * 1000:.1f}",
            f"{row['cpu'] / ours['cpu']:.2f}",
            f"{row['pss']:.0f}",
            f"{row['pss'] / ours['pss']:.2f}",
            f"{row['uss']:.0f}",
            f"{row['setup']:.1f}",
        ]
        print(f"{name:20}" + "".join(f"{cell:>10}" for cell in cells))


if __name__ == "__main__":
    main()
