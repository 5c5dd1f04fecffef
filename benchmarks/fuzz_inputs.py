"""Is a damaged file ever more than one line? Mutated inputs through `check`, `prepare` and `predict`.

    python benchmarks/fuzz_inputs.py [--number 2000] [--seed 0] [--only NUMBER] [--keep FOLDER]

Small sound data sets of every layout are made, and a tiny network of volumes and a tiny detector are trained on them.
Each trial copies one of them, damages one of its files and runs one verb in a process of its own: bytes are flipped,
cut, doubled, blanked, exchanged or inserted; in text also words, numbers and lines (`NaN`, huge, negative, of another
type, missing, twice), and gzip files are damaged below their compression as well.

A trial is in order if the verb ends in 0, 2 or 3 within the time limit, prints no traceback, says something when it
ends in 2 or 3, and leaves no unfinished file (`*.tmp*`, or a prepared folder or prediction after a refusal).
The exit status is 1 if one is not; `--only NUMBER` repeats a trial and shows all that it prints, `--keep` keeps its
files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image

import densekit
from densekit.cli import main as command

LIMIT = 60  # seconds a trial may take
CLASSES = ("sun", "sea")
NETWORK = """
from mmengine.config import read_base

with read_base():
    from densekit.configs._base_.monai import *

from densekit.models.backbones.monai_network import MonaiNetwork

model = dict(
    backbone=dict(type=MonaiNetwork, name="UNet", args=dict(channels=(4, 8), strides=(2,))),
    head=dict(type=LogitsHead, loss=dict(type=DeepSupervisionLoss, loss=dict(type=DiceCELoss))),
)
patch_size = (8, 16, 16)
batch_size = 1
iterations_per_epoch = 1
max_epochs = 1
num_workers = 0
pictures = 0
"""
DETECTOR = """
from mmengine.config import read_base

with read_base():
    from densekit.configs._base_.detection import *

from mmdet.datasets.transforms import Resize
from mmdet.models import FPN, ResNet, RetinaHead

train_pipeline = [dict(type=Resize, scale=(96, 64), keep_ratio=True)]
test_pipeline = [dict(type=Resize, scale=(96, 64), keep_ratio=True)]
model = dict(
    backbone=dict(type=ResNet, depth=18, base_channels=8),
    neck=dict(type=FPN, out_channels=16),
    head=dict(type=RetinaHead, stacked_convs=1, feat_channels=16),
)
pretrained = False
batch_size = 2
num_workers = 0
max_epochs = 1
lr_batch = None
schedule = []
pictures = 0
"""


# --- sound inputs -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Target:
    """A sound folder, the verb that reads it (``{in}`` and ``{out}`` are filled in), and which files are damaged."""

    name: str
    make: Callable[[Path], None]
    verb: tuple[str, ...]
    files: str = "*"


def image(seed: int, boxes: list[tuple[int, list[int]]] | None = None) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 130, (64, 96, 3), dtype=np.uint8)
    for number in range(2):
        x, y, w, h = (
            int(v) for v in (rng.integers(0, 20) + 40 * number, rng.integers(0, 30), *rng.integers(14, 28, 2))
        )
        pixels[y : y + h, x : x + w] = ((250, 220, 40), (40, 80, 220))[number]
        if boxes is not None:
            boxes.append((number, [x, y, w, h]))
    return Image.fromarray(pixels)


def coco(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        images, annotations = [], []
        (root / split).mkdir(parents=True)
        for n in range(count):
            boxes: list[tuple[int, list[int]]] = []
            name = f"{n}.{('png', 'jpg')[n % 2]}"
            image(n + 10 * count, boxes).save(root / split / name)
            images.append({"id": n, "file_name": name, "width": 96, "height": 64})
            for label, (x, y, w, h) in boxes:
                entry = {"id": len(annotations), "image_id": n, "category_id": label + 1, "bbox": [x, y, w, h]}
                outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                annotations.append(entry | {"area": w * h, "iscrowd": 0, "segmentation": outline})
        names = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": names}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content, indent=1))


def yolo(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for n in range(count):
            boxes: list[tuple[int, list[int]]] = []
            image(n + 10 * count, boxes).save(root / "images" / split / f"{n}.jpg")
            rows = [f"{c} {(x + w / 2) / 96} {(y + h / 2) / 64} {w / 96} {h / 64}" for c, (x, y, w, h) in boxes]
            (root / "labels" / split / f"{n}.txt").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [sun, sea]\n")


def voc(root: Path) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for n in range(6):
        boxes: list[tuple[int, list[int]]] = []
        image(n, boxes).save(root / "JPEGImages" / f"{n}.jpg")
        objects = "".join(
            f"<object><name>{CLASSES[c]}</name><difficult>0</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>\n"
            for c, (x, y, w, h) in boxes
        )
        (root / "Annotations" / f"{n}.xml").write_text(
            f"<annotation><filename>{n}.jpg</filename><size><width>96</width><height>64</height><depth>3</depth></size>"
            f"{objects}</annotation>"
        )
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    (root / "ImageSets/Main/val.txt").write_text("4\n5\n")


def masks(root: Path) -> None:
    for n in range(4):
        boxes: list[tuple[int, list[int]]] = []
        folder = root / "train" / f"{n}"
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        image(n, boxes).save(folder / "images" / f"{n}.png")
        for number, (_, (x, y, w, h)) in enumerate(boxes):
            mask = np.zeros((64, 96), np.uint8)
            mask[y : y + h, x : x + w] = 255
            Image.fromarray(mask).save(folder / "masks" / f"{number}.png")


def scan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map, ``(x, y, z)``."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((18, 20, 16), np.uint8)
    for value in (1, 2):
        labels[tuple(slice(c, c + 6) for c in rng.integers(1, 9, 3))] = value
    return (rng.normal(0, 10, labels.shape) + 80.0 * labels).astype(np.int16), labels


def write_scan(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        volume = nib.Nifti1Image(array, np.diag([1.5, 1.5, 2.0, 1.0]))
        volume.header.set_xyzt_units("mm")
        nib.save(volume, path)
        return
    volume = sitk.GetImageFromArray(array.T)
    volume.SetSpacing((1.5, 1.5, 2.0))
    sitk.WriteImage(volume, str(path), useCompression=path.suffix == ".nrrd")


def folder(suffix: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        rows = ["case,subject,split"]
        for n in range(4):
            pixels, labels = scan(n)
            write_scan(root / "images" / f"case{n}{suffix}", pixels)
            write_scan(root / "labels" / f"case{n}{suffix}", labels)
            rows.append(f"case{n},p{n},{'train' if n < 3 else 'val'}")
        (root / "splits.csv").write_text("\n".join(rows) + "\n")
        (root / "table.csv").write_text(
            "case,patient,age,sex\n" + "".join(f"case{n},p{n},{50 + n},F\n" for n in range(4))
        )

    return make


def msd(root: Path) -> None:
    pairs = []
    for n in range(4):
        pixels, labels = scan(n)
        write_scan(root / "imagesTr" / f"case{n}.nii.gz", pixels)
        write_scan(root / "labelsTr" / f"case{n}.nii.gz", labels)
        pairs.append({"image": f"./imagesTr/case{n}.nii.gz", "label": f"./labelsTr/case{n}.nii.gz"})
    content = {"name": "blobs", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "near", "2": "far"}}
    content |= {"numTraining": 4, "numTest": 0, "training": pairs, "test": []}
    (root / "dataset.json").write_text(json.dumps(content, indent=1))


def scans(root: Path) -> None:
    for n, suffix in enumerate((".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")):
        write_scan(root / f"case{n}{suffix}", scan(n)[0])


def photos(root: Path) -> None:
    root.mkdir(parents=True)
    for n, suffix in enumerate(("png", "jpg", "tif", "bmp", "webp")):
        image(n).save(root / f"{n}.{suffix}")


# --- damage -----------------------------------------------------------------------------------------------------------
WORDS = [b"NaN", b"-1", b"1e400", b"99999999999999999999", b"null", b'""', b"[]", b"{}", b"true", b"-0.0", b"abc"]
WORDS += [b"\xff\xfe", b"\x00", b"../../x", b"&lol;", b"<", b'"', b"\n", b"inf", b"0x10", b"\xe2\x80\xae"]


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Damage the file, mostly near its beginning, where headers are."""
    size = max(1, len(data))
    place = min(size - 1, int(size * rng.random() ** rng.choice((1, 1, 6))))
    length = rng.choice((1, 2, 4, 8, 64, 512))
    piece = data[place : place + length]
    kind = rng.choice(("flip", "flip", "cut", "double", "blank", "ones", "swap", "insert", "drop", "empty", "page"))
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20))):
            if changed:
                at = min(len(changed) - 1, place + rng.randrange(length))
                changed[at] ^= 1 << rng.randrange(8)
        return bytes(changed)
    other = rng.randrange(size)
    return {
        "cut": data[:place],
        "double": data[: place + length] + piece + data[place + length :],
        "blank": data[:place] + bytes(len(piece)) + data[place + length :],
        "ones": data[:place] + b"\xff" * len(piece) + data[place + length :],
        "swap": data[:place] + data[other : other + len(piece)] + data[place + length :],
        "insert": data[:place] + rng.randbytes(length) + data[place:],
        "drop": data[:place] + data[place + length :],
        "empty": b"",
        "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    }[kind]


def damage_text(data: bytes, rng: random.Random) -> bytes:
    """Exchange, drop or double a word, a number or a line."""
    kind = rng.choice(("word", "word", "number", "number", "drop line", "double line", "encoding", "bytes"))
    if kind == "bytes":
        return damage_bytes(data, rng)
    if kind == "encoding":
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32", "cp037")))
    if kind.endswith("line"):
        lines = data.splitlines(keepends=True) or [b""]
        at = rng.randrange(len(lines))
        return b"".join(lines[:at] + [lines[at]] * (2 * (kind == "double line")) + lines[at + 1 :])
    found = list(re.finditer(rb"-?\d+\.?\d*" if kind == "number" else rb'"[^"]*"|[\w.]+|[\[\]{}<>:,/]', data))
    if not found:
        return damage_bytes(data, rng)
    word = rng.choice(found)
    return data[: word.start()] + rng.choice(WORDS) + data[word.end() :]


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file in place; returns how."""
    data = path.read_bytes()
    if path.suffix == ".gz" and rng.random() < 0.6:
        path.write_bytes(gzip.compress(damage_bytes(gzip.decompress(data), rng)))
        return "inside its compression"
    if path.suffix in (".json", ".yaml", ".xml", ".csv", ".txt", ".nhdr", ".mhd"):
        path.write_bytes(damage_text(data, rng))
        return "text"
    if path.suffix in (".nrrd", ".mha") and rng.random() < 0.5:  # a text header before the voxels
        end = max(data.find(b"\n\n"), data.find(b"LOCAL"), 1)
        path.write_bytes(damage_text(data[:end], rng) + data[end:])
        return "header"
    path.write_bytes(damage_bytes(data, rng))
    return "bytes"


# --- trials -----------------------------------------------------------------------------------------------------------
def targets(work: Path) -> list[Target]:
    """Every layout under every verb that reads it."""
    volumes, detector = str(work / "volumes.pth"), str(work / "detector.pth")
    prepare = ("prepare", "folder", "{in}", "{out}", "--labels", "near", "far", "--channels", "MR", "--workers", "1")
    prepare += ("--splits", "{in}/splits.csv", "--table", "{in}/table.csv")
    found = [Target(make.__name__, make, ("check", "{in}")) for make in (coco, yolo, voc, masks, msd)]
    found += [
        Target("msd", msd, ("prepare", "msd", "{in}", "{out}", "--workers", "1")),
        Target("prepared", lambda root: shutil.copytree(work / "store", root, dirs_exist_ok=True), ("check", "{in}")),
        Target(
            "model of volumes",
            lambda root: _copy(work / "volumes.pth", root),
            ("predict", "{file}", str(work / "scan.nii")),
        ),
        Target(
            "detector", lambda root: _copy(work / "detector.pth", root), ("predict", "{file}", str(work / "photo.png"))
        ),
        Target("scans", scans, ("predict", volumes, "{file}")),
        Target("scans", scans, ("predict", volumes, "{in}")),
        Target("photos", photos, ("predict", detector, "{file}")),
        Target("photos", photos, ("predict", detector, "{in}")),
    ]
    for suffix in (".nii.gz", ".nii", ".nrrd", ".mha"):
        found.append(Target(f"folder of {suffix}", folder(suffix), prepare))
    found.append(Target("folder", folder(".nii.gz"), ("check", "{in}", "--kind", "folder")))
    return found


def _copy(file: Path, root: Path) -> None:
    root.mkdir(parents=True)
    shutil.copy(file, root / file.name)


def networks(work: Path) -> None:
    """Train the two networks; leaves ``volumes.pth``, ``detector.pth``, ``store``, ``scan.nii`` and ``photo.png``."""
    folder(".nii.gz")(work / "raw")
    quietly(["prepare", "folder", work / "raw", work / "store", "--labels", "near", "far", "--channels", "MR"], work)
    (work / "network.py").write_text(NETWORK)
    quietly(["train", work / "network.py", "--data", work / "store", "--work-dir", work / "v"], work)
    coco(work / "coco")
    (work / "detector.py").write_text(DETECTOR)
    quietly(["train", work / "detector.py", "--data", work / "coco", "--work-dir", work / "d"], work)
    shutil.copy(work / "v" / "last.pth", work / "volumes.pth")
    shutil.copy(work / "d" / "last.pth", work / "detector.pth")
    write_scan(work / "scan.nii", scan(0)[0])
    image(0).save(work / "photo.png")


def quietly(arguments: list, work: Path) -> None:
    status, printed = run([str(a) for a in arguments], work / "log.txt", 600)
    if status != 0:
        sys.exit(f"a sound input is refused ({status}): {' '.join(map(str, arguments))}\n{printed}")


def run(arguments: list[str], log: Path, limit: int) -> tuple[int | None, str]:
    """Run a verb in a forked process; returns its exit status (None: too slow; negative: a signal), and its output."""
    child = os.fork()
    if child == 0:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        status = 99
        try:
            status = command(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    end = time.monotonic() + limit
    while (waited := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, log.read_text(errors="replace")
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(waited[1]), log.read_text(errors="replace")


def verdict(status: int | None, printed: str, out: Path) -> str:
    """What is wrong with the end of a trial; empty if it is in order."""
    if status is None:
        return f"not finished after {LIMIT} s"
    if status not in (0, 2, 3):
        return f"exit status {status}"
    if "Traceback (most recent call last)" in printed:
        return "a traceback"
    if status and not printed.strip():
        return f"exit status {status} without a word"
    refusals = sum(line.startswith("densekit ") for line in printed.splitlines())
    if refusals > 1 or (refusals and status != 2):
        return f"{refusals} refusals at exit status {status}"
    left = [p for p in out.rglob("*") if "tmp" in p.name or p.name.startswith(".")] if out.is_dir() else []
    if left:
        return f"left behind: {left[0].name}"
    if status == 2 and (out / "dataset.json").exists():
        return "refused, but the prepared folder is there"
    return ""


def trial(
    number: int, seed: int, made: list[tuple[Target, Path]], work: Path, keep: Path | None
) -> tuple[str, str, str]:
    """Run one trial; returns what was damaged, what is wrong with its end, and what was printed."""
    rng = random.Random(f"{seed} {number}")
    target, source = rng.choice(made)
    root, out = work / "trial" / "data", work / "trial" / "out"
    shutil.rmtree(root.parent, ignore_errors=True)
    shutil.copytree(source, root)
    file = rng.choice(sorted(p for p in root.rglob(target.files) if p.is_file()))
    how = damage(file, rng)
    filled = [part.format(**{"in": root, "out": out, "file": file}) for part in target.verb]
    if filled[0] == "predict":
        filled += ["--out", str(out), "--device", "cpu"]
    os.environ["XDG_CACHE_HOME"] = str(root.parent / "cache")
    status, printed = run(filled, work / "log.txt", LIMIT)
    if keep is not None:
        shutil.copytree(root.parent, keep, dirs_exist_ok=True)
    return (
        f"{filled[0]} {target.name}: {file.relative_to(root)} ({how}) -> {status}",
        verdict(status, printed, out),
        printed,
    )


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the trial to repeat")
    parser.add_argument("--first", type=int, default=0, help="the trial to begin with")
    parser.add_argument("--keep", type=Path, help="folder for the files of the last trial")
    arguments = parser.parse_args()
    for module in walk_packages(densekit.__path__, "densekit."):  # once, before the forks
        if ".configs" not in module.name:
            import_module(module.name)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        networks(work)
        made = []
        for index, target in enumerate(targets(work)):
            target.make(work / "sound" / str(index))
            made.append((target, work / "sound" / str(index)))
        numbers = range(arguments.first, arguments.number) if arguments.only is None else [arguments.only]
        ends, bad, start = Counter(), [], time.monotonic()
        for done, number in enumerate(numbers, 1):
            what, wrong, printed = trial(number, arguments.seed, made, work, arguments.keep)
            ends[what.rsplit(" ", 1)[1]] += 1
            if wrong or arguments.only is not None:
                bad += [number] if wrong else []
                last = printed if arguments.only is not None else "\n".join(printed.strip().splitlines()[-3:])
                print(f"trial {number}: {what}: {wrong or 'in order'}\n{last}", flush=True)
            if done % 100 == 0:
                each = (time.monotonic() - start) / done
                print(
                    f"[{done}/{len(numbers)}] {len(bad)} not in order, {each * (len(numbers) - done):.0f} s left",
                    flush=True,
                )
    statuses = dict(sorted(ends.items()))
    print(f"{len(numbers)} trials, seed {arguments.seed}: exit statuses {statuses}, {len(bad)} not in order {bad}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
