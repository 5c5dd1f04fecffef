"""Prepared volumes as samples: random patches for training, whole volumes for validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from densekit.datasets.shared.patient_table import as_numbers
from densekit.datasets.volume.stored import StoredCase, open_store
from densekit.errors import ConfigError, DataError, close_names
from densekit.ops.unlabelled import UNLABELLED
from densekit.ops.volume_boxes import centred_in, clipped
from densekit.registry import DATASETS

logger = logging.getLogger("densekit")

TARGETS = {"label": "label map", "classes": "class", "boxes": "boxes"}
"""What can be learned of a case, by its key in a sample, in words."""

_MOVING = ("monai.transforms.spatial", "monai.transforms.croppad")
"""Where MONAI keeps transforms that move voxels, which know nothing of a sample's boxes."""


class _Volumes(Dataset):
    """The cases of a split, and what the samples of patches and of whole volumes have in common.

    Args:
        root: Prepared folder.
        split: Split, or several joined by ``+``.
        fold: Fold of the data set, None for its named splits.
        targets: What is learned, of :data:`TARGETS`; cases that have nothing of it are left out.

    Raises:
        ConfigError: for a split, fold or target that is not there.
        DataError: if the folder is not a prepared one, or no case of the split has a target.
    """

    def __init__(self, root: str | Path, split: str, fold: int | None, targets: Sequence[str]) -> None:
        self.store = open_store(root, fold)
        for target in targets:
            if target not in TARGETS:
                raise ConfigError(
                    f"targets has {target!r}{close_names(target, TARGETS)}, expected {', '.join(TARGETS)}"
                )
        self.cases = self._cases_with(targets, split)
        self._boxes = "boxes" in targets
        self._lacks_channels = not all(all(case.channels_present) for case in self.cases)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and the like, for MMEngine; of ``classes`` and ``meta`` the columns, if there are any."""
        store = self.store
        columns = {"patient_classes": store.classes, "meta": store.meta}
        columns |= {"box_classes": store.box_classes} if self._boxes else {}
        found = {"classes": store.labels, "scored": store.scored, "dataset": store.name}
        return {**found, **{key: value for key, value in columns.items() if value}}

    def _cases_with(self, targets: Sequence[str], split: str) -> list[StoredCase]:
        """Return the cases of a split that have any of the targets; says once which are left out, or lack a label."""
        store = self.store
        cases = [store.case(case_id) for case_id in store.ids(split)]
        has = {
            "label": lambda case: bool(case.sources["label"]),
            "classes": lambda case: bool(case.classes),
            "boxes": lambda case: case.boxes is not None,
        }
        usable = [case for case in cases if any(has[target](case) for target in targets)]
        what = " or ".join(TARGETS[target] for target in targets)
        if not usable:
            raise DataError(
                f"{store.path}: split {split!r} has {len(cases)} cases, none of them with a {what}; prepare the data "
                f"set with such cases there, or choose another split"
            )
        if len(usable) < len(cases):
            left = len(cases) - len(usable)
            logger.warning(
                "%s: %d of %d cases of split %s have no %s, left out", store.path, left, len(cases), split, what
            )
        bare = sum(not has["label"](case) for case in usable)
        if bare and "label" in targets:
            logger.warning(
                "%s: %d of %d cases of split %s have no label map; they add nothing to the segmentation loss",
                *(store.path, bare, len(usable), split),
            )
        return usable

    def _boxes_of(self, case: StoredCase) -> dict[str, Tensor]:
        """The boxes of a case, in voxels of the prepared grid, if boxes are asked for."""
        if not self._boxes:
            return {}
        labels = [self.store.box_classes.index(name) for name in case.box_labels]
        boxes = torch.zeros(0, 6) if case.boxes is None else torch.from_numpy(case.boxes).float()
        return {"boxes": boxes, "box_labels": torch.tensor(labels, dtype=torch.int64)}

    def _pack(self, image: Tensor, label: Tensor, case: StoredCase) -> dict[str, Any]:
        """Make a sample of an image ``(C, d, h, w)`` and a label map ``(d, h, w)``; what is absent is marked so."""
        label = label if label.dtype in (torch.uint8, torch.int64) else label.to(torch.int64)
        if not case.sources["label"]:
            label = torch.full(label.shape, UNLABELLED, dtype=torch.uint8)
        spacing = torch.tensor(case.spacing, dtype=torch.float32)
        of_case = {"label": label, "spacing": spacing, **self._of_case(case)}
        if self._lacks_channels:
            image = torch.where(of_case["channels_present"].view(-1, 1, 1, 1), image, 0)
        return {"inputs": image, "data_samples": of_case}

    def _of_case(self, case: StoredCase) -> dict[str, Any]:
        """What a sample says of its case."""
        of_case: dict[str, Any] = {"case_id": case.id}
        if self._boxes:
            of_case["boxes_known"] = case.boxes is not None
        if self.store.classes:
            found = [
                names.index(case.classes[k]) if k in case.classes else -1 for k, names in self.store.classes.items()
            ]
            of_case["classes"] = torch.tensor(found)
        if self.store.meta:
            of_case["meta"] = torch.tensor(as_numbers(case.meta, self.store.meta), dtype=torch.float32)
        if self._lacks_channels:
            of_case["channels_present"] = torch.tensor(case.channels_present)
        return of_case


@DATASETS.register_module()
class VolumePatchDataset(_Volumes):
    """Random patches of prepared volumes.

    ``dataset[index]`` is a pure function of ``seed`` and ``index``, whatever was read before and by whom: samples are
    the same for any number of workers or processes, and after a restart. An index may be any number from 0 on; ``index
    // batch_size`` is its batch, and an epoch is ``length`` consecutive ones (:class:`VolumePatchSampler`).

    A case is drawn uniformly. In each batch the last samples, ``foreground_ratio`` of them rounded up, are centred on a
    labelled voxel: a class is drawn uniformly from those of the case, then a voxel of it. (A case without any labelled
    voxel gives a patch from anywhere.) The other samples lie anywhere. A patch is kept inside the volume; where the
    volume is smaller than the patch, it is padded on both sides with its minimum (label: background).

    A sample is ``{"inputs": float32 (C, d, h, w), "data_samples": {"label": uint8 (d, h, w), "case_id": str,
    "spacing": float32 (3,) in mm}}``; labels are int64 above 256 classes. Besides, in every sample if in any:

    * ``classes``, int64 (T,): class of the patient for each of ``store.classes``, -1 where it is not known;
    * ``meta``, float32 (M,): of each of ``store.meta`` the number or the index of the text, NaN where it is not known;
    * ``channels_present``, bool (C,): a channel that the case lacks is zero throughout.

    With ``"boxes"`` among ``targets`` there are as well ``boxes``, float32 ``(N, 6)`` in voxels of the patch
    (:mod:`densekit.ops.volume_boxes`), ``box_labels``, int64 ``(N,)``, and ``boxes_known``, False for a case whose
    boxes are not known; collate such samples to lists. A box whose centre is in the patch belongs to it, clipped to the
    patch; others do not. Samples of a case with boxes are then centred on a box, not on a labelled voxel.

    A case without label map has a label map full of :data:`~densekit.ops.unlabelled.UNLABELLED`, which losses leave
    out.

    Args:
        root: Prepared folder.
        split: ``"train"``, ``"val"`` or ``"test"``, or several joined by ``+``.
        patch_size: (d, h, w).
        pipeline: Transforms, applied to the normalised patch (see :class:`~densekit.datasets.transforms.Pipeline`).
            What they return must be of ``patch_size``.
        margin: Voxels per side, one number or (d, h, w), read around the patch, so that a rotation or scaling has real
            context. None: as many as the transforms ask for, sample by sample; give a number for transforms that do not
            ask (MONAI's), and end the pipeline with ``CenterSpatialCropd``.
        foreground_ratio: Least share of a batch that is centred on a labelled voxel; 0 for none.
        batch_size: Samples per batch, which is what ``foreground_ratio`` counts in.
        seed: Of all randomness.
        length: Samples per epoch, a multiple of ``batch_size``.
        fold: Fold of the data set, whose cases are ``"train"`` and ``"val"`` then; None: the named splits.
        targets: What is learned, any of ``"label"``, ``"classes"``, ``"boxes"``: cases that have none are left out.

    Raises:
        ConfigError: for arguments that cannot be, or a transform of MONAI that moves voxels and would leave boxes.
        DataError: if the folder is not a prepared one, or no case of the split has a target.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        patch_size: Sequence[int],
        pipeline: Sequence[dict | Callable] = (),
        *,
        margin: int | Sequence[int] | None = None,
        foreground_ratio: float = 1 / 3,
        batch_size: int = 2,
        seed: int = 0,
        length: int = 500,
        fold: int | None = None,
        targets: Sequence[str] = ("label",),
    ) -> None:
        from densekit.datasets.transforms import Pipeline  # imports MONAI

        self.patch_size = tuple(patch_size)
        self.margin = (margin,) * 3 if isinstance(margin, int) else margin and tuple(margin)
        self.batch_size = batch_size
        self.seed = seed
        self.length = length
        self._check(foreground_ratio)
        # 1e-9: a third of 3 is 1, not 2
        self.foreground_per_batch = math.ceil(batch_size * foreground_ratio - 1e-9)
        self.pipeline = Pipeline(pipeline)
        super().__init__(root, split, fold, targets)
        moving = [type(t).__name__ for t in self.pipeline.transforms if type(t).__module__.startswith(_MOVING)]
        if self._boxes and moving:
            raise ConfigError(
                f"pipeline: {moving[0]} moves voxels and leaves boxes where they are; take RandRotateScale and "
                f"AnatomicalMirror"
            )
        if self._boxes and any(getattr(t, "lacks_box_classes", False) for t in self.pipeline.transforms):
            raise ConfigError(
                f"pipeline: AnatomicalMirror needs the names of boxes to mirror left and right; add "
                f"box_classes={list(self.store.box_classes)}, or leave 'left-right' out of its axes"
            )
        self._classes: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        where, transform = np.random.SeedSequence((self.seed, int(index))).spawn(2)
        case, start = self._draw(np.random.default_rng(where), index % self.batch_size)
        self.pipeline.seed(transform)
        margin = self.pipeline.draw_margin() if self.margin is None else self.margin
        begin = [s - m for s, m in zip(start, margin, strict=True)]
        size = [n + 2 * m for n, m in zip(self.patch_size, margin, strict=True)]
        image = torch.from_numpy(_window(case.image, begin, size, case.minimum))
        # all background for a case without label map: transforms need not know of it
        label = np.zeros((1, *size), np.uint8) if case.label is None else _window(case.label[None], begin, size, [0])
        sample = {
            "inputs": self.store.preprocessing.normalize(image, case.statistics),
            "label": _label_tensor(label),
            **self._boxes_of(case),
        }
        if self._boxes:
            sample["boxes"] = sample["boxes"] - torch.tensor(begin * 2)
        sample = self.pipeline(sample)
        for key in ("inputs", "label"):
            if tuple(sample[key].shape[1:]) != self.patch_size:
                raise ConfigError(
                    f"pipeline: returns {key} of {tuple(sample[key].shape[1:])}, expected patch_size "
                    f"{self.patch_size}; end it with dict(type='CenterSpatialCropd', keys=('inputs', 'label'), "
                    f"roi_size={self.patch_size})"
                )
        packed = self._pack(sample["inputs"], sample["label"][0], case)
        if self._boxes:
            kept = centred_in(sample["boxes"], self.patch_size)
            packed["data_samples"]["boxes"] = clipped(sample["boxes"][kept], self.patch_size)
            packed["data_samples"]["box_labels"] = sample["box_labels"][kept]
        return packed

    def _draw(self, rng: np.random.Generator, position: int) -> tuple[StoredCase, list[int]]:
        """Draw a case and the first voxel of the patch, negative where the volume is smaller than the patch."""
        case = self.cases[rng.integers(len(self.cases))]
        free = [n - size for n, size in zip(case.shape, self.patch_size, strict=True)]
        classes, first = self._classes_of(case)
        if position >= self.batch_size - self.foreground_per_batch and len(classes):
            chosen = rng.integers(len(classes))
            centre = self._centres(case)[rng.integers(first[chosen], first[chosen + 1]), 1:]
            start = [int(voxel) - size // 2 for voxel, size in zip(centre, self.patch_size, strict=True)]
        else:
            start = [int(rng.integers(max(room, 0) + 1)) for room in free]
        # The middle, with the odd voxel of padding at the end: as the sliding window pads.
        return case, [-(-room // 2) if room < 0 else min(max(s, 0), room) for s, room in zip(start, free, strict=True)]

    def _classes_of(self, case: StoredCase) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of a case, and where the voxels of each begin in its foreground index (and end)."""
        if case.id not in self._classes:
            centres = self._centres(case)
            classes, first = np.unique(centres[:, 0], return_index=True)
            self._classes[case.id] = classes, np.append(first, len(centres))
        return self._classes[case.id]

    def _centres(self, case: StoredCase) -> np.ndarray:
        """Return what patches are centred on as rows (class, d, h, w), ordered by class: boxes, or labelled voxels."""
        if not (self._boxes and case.box_labels):
            return case.foreground
        labels = np.array([self.store.box_classes.index(name) for name in case.box_labels])
        centres = ((case.boxes[:, :3] + case.boxes[:, 3:]) / 2).astype(np.int64)
        return np.column_stack([labels, centres])[np.argsort(labels, kind="stable")]

    def _check(self, foreground_ratio: float) -> None:
        if len(self.patch_size) != 3 or not all(isinstance(n, int) and n > 0 for n in self.patch_size):
            raise ConfigError(f"patch_size is {self.patch_size}, expected three positive whole numbers (D, H, W)")
        if self.margin is not None and (len(self.margin) != 3 or min(self.margin) < 0):
            raise ConfigError(f"margin is {self.margin}, expected voxels per side: one number, or one for each axis")
        if not 0 <= foreground_ratio <= 1:
            raise ConfigError(f"foreground_ratio is {foreground_ratio}, expected a share between 0 and 1")
        if self.batch_size < 1 or self.length < 1 or self.length % self.batch_size:
            raise ConfigError(
                f"length is {self.length} and batch_size {self.batch_size}, expected length to be a multiple of "
                f"batch_size: an epoch is a number of whole batches"
            )
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, expected a whole number from 0 on")


@DATASETS.register_module()
class VolumeDataset(_Volumes):
    """Whole prepared volumes with their references on the scans' own grids; for validation.

    Samples are as those of :class:`VolumePatchDataset`, but ``inputs`` ``(C, d, h, w)`` is as stored, not normalised,
    ``boxes`` are in its voxels, and ``label`` ``(D, H, W)``, uint8 or uint16, and ``spacing``, float64, are those of
    the scan's file. Collate samples to lists: no two need be of one size.

    Args:
        root: Prepared folder.
        split: ``"train"``, ``"val"`` or ``"test"``, or several joined by ``+``.
        fold: Fold of the data set, whose cases are ``"train"`` and ``"val"`` then; None: the named splits.
        targets: What is compared, any of ``"label"``, ``"classes"``, ``"boxes"``: cases that have none are left out.

    Raises:
        ConfigError: for a split, fold or target that is not there.
        DataError: if the folder is not a prepared one, or no case of the split has a target.
    """

    def __init__(
        self, root: str | Path, split: str, fold: int | None = None, targets: Sequence[str] = ("label",)
    ) -> None:
        super().__init__(root, split, fold, targets)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.cases[index]
        image = torch.from_numpy(np.array(case.image))  # a copy: the map is read-only
        if case.sources["label"]:
            label = torch.from_numpy(self.store.read_reference(case.id))
        else:
            label = torch.full(case.shape_before, UNLABELLED, dtype=torch.uint8)
        spacing = torch.tensor(case.geometry.canonical_spacing, dtype=torch.float64)
        of_case = {"label": label, "spacing": spacing, **self._of_case(case), **self._boxes_of(case)}
        return {"inputs": image, "data_samples": of_case}


def _window(volume: np.ndarray, begin: Sequence[int], size: Sequence[int], fill: Sequence[float]) -> np.ndarray:
    """Copy a window of a ``(C, D, H, W)`` volume, which may reach beyond it; only the window's bytes are read.

    Args:
        volume: Array or memory map.
        begin: First voxel (d, h, w), may be negative.
        size: (d, h, w) of the window.
        fill: Value outside of the volume, for each channel.
    """
    inside, target = [slice(None)], [slice(None)]
    for first, n, total in zip(begin, size, volume.shape[1:], strict=True):
        low, high = min(max(first, 0), total), min(max(first + n, 0), total)
        inside.append(slice(low, high))
        target.append(slice(low - first, high - first))
    part = volume[tuple(inside)]
    if list(part.shape[1:]) == list(size):
        return np.array(part)
    window = np.empty((volume.shape[0], *size), dtype=volume.dtype)
    window[:] = np.asarray(fill, dtype=volume.dtype).reshape(-1, 1, 1, 1)
    window[tuple(target)] = part
    return window


def _label_tensor(label: np.ndarray) -> Tensor:
    return torch.from_numpy(label if label.dtype == np.uint8 else label.astype(np.int64))
