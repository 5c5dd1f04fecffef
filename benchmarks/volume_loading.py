"""Time and peak memory of loading a CT volume: densekit's read_volume against MONAI's LoadImage.

    python benchmarks/volume_loading.py                 # 512 x 512 x 300, int16, .nii.gz of about 97 MB
    python benchmarks/volume_loading.py --shape 256 256 100 --repeats 9

A body of noise in air is written once, by nibabel, to a temporary folder. The contenders take turns in one process, the
file in the page cache for all; the table shows medians. Memory is the growth of the largest resident set in a process
of its own that has the imports done and has loaded a small volume before. Before anything is timed, densekit and MONAI
are checked to have read the same numbers.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np


def densekit_loader() -> Callable[[Path], np.ndarray]:
    """int16 array (1, D, H, W) on the canonical axes."""
    from densekit.io import read_volume

    return lambda path: read_volume(path).array


def densekit_tensor_loader() -> Callable[[Path], object]:
    """The same as a float32 tensor, which is what LoadImage returns."""
    import torch

    from densekit.io import read_volume

    return lambda path: torch.from_numpy(read_volume(path).array).float()


def monai_loader() -> Callable[[Path], object]:
    """float32 MetaTensor (1, i, j, k) on the axes of the file."""
    from monai.transforms import LoadImage

    return LoadImage(image_only=True, ensure_channel_first=True)


CONTENDERS = {
    "monai LoadImage": monai_loader,
    "densekit read_volume": densekit_loader,
    "densekit read_volume, float32 tensor": densekit_tensor_loader,
}
PEER = "monai LoadImage"


def write_volume(path: Path, shape: tuple[int, int, int], noise: float) -> None:
    """Write a body of 40 HU in air, both with Gaussian noise; axes Left, Anterior, Superior as dcm2niix has them."""
    generator = np.random.default_rng(0)
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[:2])
    body = (x[:, None] / 0.9) ** 2 + (y[None, :] / 0.75) ** 2 < 1
    array = np.empty(shape, dtype=np.int16, order="F")
    for k in range(shape[2]):
        slab = generator.standard_normal(shape[:2], dtype=np.float32) * noise
        array[..., k] = np.where(body, np.rint(slab + 40), np.rint(slab - 990)).clip(-1024, 3071)
    nib.save(nib.Nifti1Image(array, np.diag((-0.7, 0.7, 1.0, 1.0))), path)


def check_equal(path: Path) -> None:
    """Stop if the contenders did not read the same voxels."""
    from densekit.io import read_volume

    volume = read_volume(path)
    ours = volume.geometry.restore(volume.array)
    theirs = np.asarray(monai_loader()(path))
    if not np.array_equal(ours, theirs):
        sys.exit("densekit and MONAI read different voxels: the times below would mean nothing")


def time_turns(path: Path, repeats: int) -> dict[str, float]:
    """Return the median seconds of each contender, run in turns after one round that is not counted."""
    loaders = {name: make() for name, make in CONTENDERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(repeats + 1):
        for name, load in loaders.items():
            begin = time.perf_counter()
            load(path)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(name: str, path: Path, small: Path) -> float:
    """Return by how many MiB loading ``path`` raises the peak of a fresh process."""
    command = [sys.executable, __file__, "--measure", name, str(path), str(small)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, path: str, small: str) -> None:
    """Print the growth of this process's peak memory in MiB; the body of the process that peak_memory starts."""
    load = CONTENDERS[name]()
    load(Path(small))
    before = peak_mib()
    load(Path(path))
    print(json.dumps(peak_mib() - before))


def peak_mib() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss down from the parent process; VmHWM is this program's own
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar="N", help="voxels i, j, k")
    parser.add_argument("--noise", type=float, default=43.0, help="standard deviation in HU: sets the size of the file")
    parser.add_argument("--repeats", type=int, default=5, help="counted rounds")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "volume.nii.gz", Path(folder) / "small.nii.gz"
        write_volume(path, tuple(arguments.shape), arguments.noise)
        write_volume(small, (32, 32, 8), arguments.noise)
        check_equal(path)
        print(f"{' x '.join(map(str, arguments.shape))} int16, {path.stat().st_size / 1e6:.1f} MB .nii.gz")
        seconds = time_turns(path, arguments.repeats)
        memory = {name: peak_memory(name, path, small) for name in CONTENDERS}
    print(f"{'':38}{'seconds':>9}{'speed':>8}{'peak MiB':>10}{'memory':>8}")
    for name in CONTENDERS:
        speed, share = seconds[PEER] / seconds[name], memory[name] / memory[PEER]
        print(f"{name:38}{seconds[name]:9.2f}{speed:7.1f}x{memory[name]:10.0f}{share:7.2f}x")


if __name__ == "__main__":
    main()
