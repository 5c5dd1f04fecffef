"""What is worth a look in a data set that can be read: leaks between splits, classes, sizes, images, outlines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import numpy as np

from densekit.datasets.detection.coco_names import COCO_NAMES, OTHER_NAMES
from densekit.datasets.detection.dataset import DetectionDataset
from densekit.datasets.detection.findings import Findings
from densekit.datasets.detection.outlines import check_outlines
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.leaks import find_leaks
from densekit.io.depth import described
from densekit.structures.boxes import area, iou
from densekit.structures.class_names import spelling
from densekit.structures.findings import Example

RARE = 10
SMALL = 8
MANY, VERY_MANY = 100, 500
SMALL_SHARE = 0.1
ASPECT = 20
COINCIDE = 0.9
OUTLIER = 6.0
_COHORT = 20
_EXPECTED = 10


def check_quality(
    dataset: DetectionDataset,
    findings: Findings,
    *,
    input_size: tuple[int, int] = (1333, 800),
    named: bool = False,
) -> None:
    """Add what is worth a look to ``findings``.

    Args:
        dataset: The data set.
        findings: Collects.
        input_size: Longer and shorter side in pixels that images are resized to in training.
        named: The classes were asked for by name: those that differ by a letter are meant to be two.
    """
    checks = _Checks(dataset, findings)
    checks.splits()
    checks.images()
    checks.classes(named)
    checks.unlabelled()
    checks.boxes()
    checks.coincident_boxes()
    checks.sizes(input_size)
    check_outlines(dataset, findings)


class _Checks:
    def __init__(self, dataset: DetectionDataset, findings: Findings) -> None:
        self.dataset = dataset
        self.findings = findings
        self.a = dataset.annotations
        splits = list(dataset.splits)
        self.split = np.array([splits.index(i.split) for i in dataset.images], dtype=np.int64)
        shape = (len(splits), len(dataset.classes))
        self.counts = np.zeros(shape, dtype=np.int64)
        np.add.at(self.counts, (self.split[self.a.image_index], self.a.labels), 1)

    # --- images ---------------------------------------------------------------------------------------------------
    def splits(self) -> None:
        """Find images that are in two splits, or twice in one."""
        images = self.dataset.images
        if not images:
            self.findings.add("no-images", count=1)
        elif "train" not in self.dataset.splits:
            words = f"holds only {' and '.join(self.dataset.splits)}: it can be scored, not trained on"
            self.findings.add("only-scored", count=1, message=words)
        elif self.of("train").sum() == 0:
            self.findings.add("no-objects", count=1)
        paths = [os.path.join(self.dataset.root, image.file) for image in images]  # noqa: PTH118  a Path is slow
        find_leaks(self.findings, paths, self.dataset.headers, [(image.split, image.file) for image in images])

    def images(self) -> None:
        """Look at what the headers say: kinds of images, rotation, files that were cut short."""
        headers = [(i, h) for i, h in enumerate(self.dataset.headers) if h is not None and not h.problem]
        kinds: dict[str, list[int]] = {}
        for index, header in headers:
            kinds.setdefault(_kind(header), []).append(index)
        deep = kinds.pop("16 bit or more", [])
        spans = " and ".join(described(span) for span in self.dataset.ranges.values())
        words = f"images of more than 8 bits: their {spans} are brought to 0-255, in training as in prediction"
        words = words if spans else ""  # none can be read, which is said
        self.findings.rows("image-16bit", deep, lambda i: self.image(i, self.dataset.headers[i].mode), words)
        if len(kinds) > 1:
            by_size = sorted(kinds.items(), key=lambda item: -len(item[1]))
            words = ", ".join(f"{len(indices)} {kind}" for kind, indices in by_size)
            rest = [index for _, indices in by_size[1:] for index in indices]
            message = f"images of different kinds, all read as RGB: {words}"
            self.findings.rows("image-modes", rest, lambda i: self.image(i, self.dataset.headers[i].mode), message)
        turned = [i for i, h in headers if h.orientation != 1]
        self.findings.rows("image-exif", turned, lambda i: self.image(i, boxes=True))
        self.findings.rows("image-truncated", [i for i, h in headers if not h.whole], self.image)

    # --- classes --------------------------------------------------------------------------------------------------
    def of(self, split: str) -> np.ndarray:
        """Return the objects of each class in a split."""
        if split not in self.dataset.splits:
            return np.zeros(len(self.dataset.classes), dtype=np.int64)
        return self.counts[self.dataset.splits.index(split)]

    def classes(self, named: bool) -> None:
        """Find classes that cannot be learned or scored, and names that may be meant as one."""
        names = self.dataset.classes
        train, held_out, total = self.of("train"), self.counts.sum(axis=0) - self.of("train"), self.counts.sum(axis=0)
        typos = self._typos(train, held_out, named)
        unused = [n for n, t in zip(names, total, strict=True) if t == 0]
        self.findings.rows("class-unused", range(len(unused)), lambda i: unused[i])
        only_held_out = [n for n, t, h in zip(names, train, held_out, strict=True) if not t and h and n not in typos]
        self.findings.rows("class-not-in-train", range(len(only_held_out)), lambda i: only_held_out[i])
        rare = sorted((t, n) for n, t in zip(names, train, strict=True) if 0 < t < RARE)
        self.findings.rows("class-rare", range(len(rare)), lambda i: f"{rare[i][1]}: {rare[i][0]}")
        if "val" in self.dataset.splits:
            unseen = [n for n, t, v in zip(names, train, self.of("val"), strict=True) if t and not v and n not in typos]
            self.findings.rows("class-not-in-val", range(len(unseen)), lambda i: unseen[i])
        for name in names:
            meant = OTHER_NAMES.get(_plain(name)) or next((c for c in COCO_NAMES if _plain(c) == _plain(name)), None)
            if meant is not None and spelling(meant) != spelling(name):
                self.findings.add("coco-names", f"{name!r}: COCO has {meant!r}")

    def _typos(self, train: np.ndarray, held_out: np.ndarray, named: bool) -> set[str]:
        """Find names that are spellings of one another; return those that no split scores because of it."""
        names = self.dataset.classes
        found: set[str] = set()
        seldom = [i for i in range(len(names)) if train[i] < RARE and train[i] + held_out[i]]
        for i in seldom:
            for j in range(len(names)):
                same = _plain(names[i]) == _plain(names[j])
                if (
                    i == j
                    or not (same or _nearly(names[i], names[j]))
                    or train[i] + held_out[i] > train[j] + held_out[j]
                ):
                    continue
                apart = not (train[i] and train[j]) and not (held_out[i] and held_out[j])
                if (apart and not (named and not same)) or (same and not train[i] and train[j]):
                    found.update((names[i], names[j]) if apart else (names[i],))
                    words = f"{self._where(i)}, but {self._where(j)}: is it one class?"
                    self.findings.add("class-typo", words)
                    break
                if same or train[i] + held_out[i] < 0.05 * (train[j] + held_out[j]):
                    self.findings.add("class-alike", f"{self._where(i)}, {self._where(j)}")
                    break
        return found

    def _where(self, label: int) -> str:
        counts = (f"{c} in {s}" for s, c in zip(self.dataset.splits, self.counts[:, label], strict=True) if c)
        return f"{self.dataset.classes[label]!r} ({', '.join(counts) or 'unused'})"

    def unlabelled(self) -> None:
        """Find classes that a whole folder of images lacks although a tenth of the others or more show them."""
        keys = [(image.split, image.file.rpartition("/")[0]) for image in self.dataset.images]
        groups = sorted(key for key, n in Counter(keys).items() if n >= _COHORT)
        if not 2 <= len(groups) <= 1000:
            return
        place = {key: number for number, key in enumerate(groups)}
        group = np.array([place.get(key, -1) for key in keys], dtype=np.int64)
        size = np.bincount(group[group >= 0], minlength=len(groups))
        shown = np.unique(np.stack([self.a.image_index, self.a.labels]), axis=1)  # a class counts once per image
        member = group[shown[0]]
        images = np.zeros((len(groups), len(self.dataset.classes)), dtype=np.int64)
        np.add.at(images, (member[member >= 0], shown[1][member >= 0]), 1)
        elsewhere = images.sum(axis=0) / np.maximum(size.sum() - size[:, None], 1)
        for g, label in zip(*np.nonzero((images == 0) & (elsewhere * size[:, None] >= _EXPECTED)), strict=True):
            split, folder = groups[g]
            if self.of(split)[label] == 0 and split in ("train", "val"):
                continue  # said already: the class is not in this split at all
            share = f"{elsewhere[g, label]:.0%} of the other images have one"
            self.findings.add(
                "class-unlabelled", f"{self.dataset.classes[label]}: none in {split} {folder or '.'}; {share}"
            )

    # --- boxes ----------------------------------------------------------------------------------------------------
    def box(self, row: int, words: str = "") -> Example:
        """Return the place of an annotation."""
        file = self.dataset.images[self.a.image_index[row]].file
        where = f"{file}: {self.a.words(row, self.dataset.classes)}{', ' if words else ''}{words}"
        return Example(where, str(self.dataset.path(self.a.image_index[row])), (self.a.corners(row),))

    def image(self, index: int, words: str = "", boxes: bool = False) -> Example:
        """Return the place of an image, with its boxes to draw if asked."""
        rows = np.flatnonzero(self.a.image_index == index)[:50] if boxes else []
        drawn = tuple(self.a.corners(row) for row in rows)
        file = self.dataset.images[index].file
        return Example(f"{file}: {words}" if words else file, str(self.dataset.path(index)), drawn)

    def boxes(self) -> None:
        """Find boxes that are thin, of odd shape, or far out of line with their class."""
        w, h = self.a.xywh[:, 2], self.a.xywh[:, 3]
        short, long = np.minimum(w, h), np.maximum(w, h)
        self.findings.rows("box-thin", np.flatnonzero(short < 1), self.box)
        odd = np.flatnonzero((long > ASPECT * short) & (short >= 1) & ~self.a.crowd)
        self.findings.rows("box-odd-shape", odd, self.box)
        self.findings.rows(*self._odd_sizes())

    def _odd_sizes(self) -> tuple[str, list[int], Callable[[int], Example]]:
        side = np.sqrt(area(self.a.xywh))
        logs = np.log(np.maximum(side, 1e-6))
        found: list[tuple[float, int]] = []
        medians: dict[int, float] = {}
        order = np.argsort(self.a.labels, kind="stable")
        bounds = np.searchsorted(self.a.labels[order], np.arange(len(self.dataset.classes) + 1))
        for label in range(len(self.dataset.classes)):
            rows = order[bounds[label] : bounds[label + 1]]
            rows = rows[~self.a.crowd[rows]]
            if len(rows) < _COHORT:
                continue
            median = float(np.median(logs[rows]))
            spread = max(1.4826 * float(np.median(np.abs(logs[rows] - median))), 0.1)
            z = np.abs(logs[rows] - median) / spread
            medians[label] = float(np.exp(median))
            found += [(-float(value), int(row)) for value, row in zip(z[z > OUTLIER], rows[z > OUTLIER], strict=True)]

        def place(row: int) -> Example:
            return self.box(row, f"side {side[row]:.3g} px, median of the class {medians[self.a.labels[row]]:.3g}")

        return "box-odd-size", [row for _, row in sorted(found)], place

    def coincident_boxes(self) -> None:
        """Find boxes of one class in one image that nearly coincide.

        Sorted by image, class and left edge, two boxes with IoU above t are close neighbours: their left edges differ
        by less than (1 - t) / t of the first one's width. So each is compared with the next, the one after it and so
        on, as long as any pair is near enough.
        """
        a, left = self.a, self.a.xywh[:, 0]
        order = np.lexsort((left, a.labels, a.image_index))
        reach = (1 / COINCIDE - 1) * a.xywh[:, 2]
        rows, step, found = np.arange(max(len(order) - 1, 0)), 1, []
        while len(rows):
            one, other = order[rows], order[rows + step]
            near = (a.image_index[one] == a.image_index[other]) & (a.labels[one] == a.labels[other])
            near &= left[other] - left[one] <= reach[one]
            rows, one, other = rows[near], one[near], other[near]
            overlap = iou(a.xywh[one], a.xywh[other])
            hit = (overlap > COINCIDE) & ~a.crowd[one] & ~a.crowd[other]
            found += list(zip(one[hit], other[hit], overlap[hit], strict=True))
            step += 1
            rows = rows[rows + step < len(order)]

        def place(number: int) -> Example:
            one, other, overlap = found[number]
            example = self.box(int(one), f"IoU {overlap:.2f} with another")
            return Example(example.where, example.image, (*example.boxes, self.a.corners(other)))

        self.findings.rows("box-near-duplicate", range(len(found)), place)

    def sizes(self, input_size: tuple[int, int]) -> None:
        """Compare objects with the size at which the network sees them, and count them per image."""
        long, short = max(input_size), min(input_size)
        seen = seen_sides(self.dataset, input_size)
        small = np.flatnonzero((seen < SMALL) & ~self.a.crowd)
        if len(small) > SMALL_SHARE * len(self.a):
            share = f"{len(small) / len(self.a):.0%} of the boxes"
            words = f"{share} are smaller than {SMALL} pixels after the image is resized to {long} x {short}"
            smallest = small[np.argsort(seen[small], kind="stable")]
            self.findings.rows("objects-small", smallest, lambda r: self.box(r, f"{seen[r]:.2g} px as seen"), words)
        per_image = self.dataset.objects_per_image()
        fullest = np.argsort(-per_image, kind="stable")
        for code, limit in (("objects-many", MANY), ("objects-memory", VERY_MANY)):
            full = fullest[: int((per_image > limit).sum())]
            self.findings.rows(code, full, lambda i: self.image(int(i), f"{per_image[i]} objects"))


def seen_sides(dataset: DetectionDataset, input_size: tuple[int, int]) -> np.ndarray:
    """Return the side (root of the area) of each box after its image is resized for training, float64 ``(N,)``.

    Args:
        dataset: The data set.
        input_size: Longer and shorter side in pixels into which images are fitted, their shape kept.
    """
    sides = np.array([(i.width, i.height) for i in dataset.images], dtype=np.float64).reshape(-1, 2)
    long, short = max(input_size), min(input_size)
    scale = np.minimum(long / sides.max(axis=1, initial=1), short / np.maximum(sides.min(axis=1, initial=np.inf), 1))
    return np.sqrt(area(dataset.annotations.xywh)) * scale[dataset.annotations.image_index]


def _kind(header: Header) -> str:
    mode = header.mode
    if header.deep:
        return "16 bit or more"
    if mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return "with alpha"
    return {"1": "grey", "L": "grey", "P": "palette"}.get(mode, "colour")


def _plain(name: str) -> str:
    """Return a name without what spellings differ in: case, spaces and hyphens, a plural s."""
    plain = "".join(character for character in name.casefold() if character.isalnum())
    return plain.removesuffix("s") if len(plain) > 3 and not plain.endswith("ss") else plain


def _nearly(one: str, other: str) -> bool:
    """Whether two names differ by one slip: a letter more, less or other, or two exchanged.

    A digit or a single letter on its own makes a name of its own ("grade a" is not "grade b").
    """
    one, other = sorted((one.casefold(), other.casefold()), key=len)
    if len(one) < 5 or len(other) - len(one) > 1 or _marks(one) != _marks(other):
        return False
    while one and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return len(other) <= 1 or (len(one) == 2 and one == other[::-1])


def _marks(name: str) -> list[str]:
    words = "".join(character if character.isalpha() else " " for character in name).split()
    return [c for c in name if c.isdigit()] + [word for word in words if len(word) == 1]
