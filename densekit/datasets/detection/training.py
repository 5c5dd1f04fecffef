"""Images and boxes as a training reads them: MMDetection's samples, their randomness a function of seed and index."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.registry import DefaultScope

from densekit.datasets.detection.columns import open_coco
from densekit.datasets.shared.patient_table import PatientTable, as_numbers, meta_columns
from densekit.errors import DataError
from densekit.structures.boxes import clip, to_xyxy


def coco_dataset(
    annotations: Path,
    root: Path,
    classes: Sequence[str],
    pipeline: list[dict[str, Any]],
    *,
    test: bool = False,
    table: PatientTable | None = None,
) -> ColumnDataset:
    """The images of one split as :func:`~densekit.datasets.detection.prepare_detection` wrote it.

    Images without objects are kept. Items are ``{"inputs": uint8 (3, H, W) in BGR, "data_samples": DetDataSample}``.
    With a table, their metainfo has ``meta``, float32 ``(M,)``: of each of its columns (``metainfo["meta"]`` of the
    data set) the number or the index of the text, NaN where it is not known.

    Args:
        annotations: COCO JSON of the split.
        root: Folder that its ``file_name`` is relative to.
        classes: Class names by label.
        pipeline: Transforms, with loading and packing.
        test: Only images in their order, no second try with another image where a transform gives none.
        table: Meta-information by file.
    """
    columns = {"meta": meta_columns(table.meta.values())} if table is not None else {}
    with DefaultScope.overwrite_default_scope("mmdet"):
        return ColumnDataset(
            ann_file=str(annotations),
            data_prefix={"img": str(root)},
            metainfo={"classes": tuple(classes), **columns},
            table=table,
            filter_cfg={"filter_empty_gt": False},
            serialize_data=False,
            pipeline=pipeline,
            test_mode=test,
        )


class Samples(Sequence):
    """What MMDetection's CocoDataset knows of each image, made of columns where it is asked for.

    Handed to another process it opens the file again there.

    Args:
        annotations: COCO JSON.
        root: Folder of the images.
        classes: Names of the classes to keep; labels are by the order of the category ids.
        order: Places of the images in the file; None: all.
        meta: Meta-information, float32 ``(images in the file, M)``; None: there is no table.
    """

    def __init__(
        self,
        annotations: Path,
        root: str,
        classes: Sequence[str],
        order: np.ndarray | None = None,
        meta: np.ndarray | None = None,
    ) -> None:
        self.annotations, self.root, self.classes, self.meta = annotations, root, tuple(classes), meta
        self.objects = open_coco(annotations)
        self.bounds = self.objects.bounds()
        self.order = np.arange(len(self.objects.images)) if order is None else order

    def __reduce__(self) -> tuple:
        return Samples, (self.annotations, self.root, self.classes, self.order, self.meta)

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of each object among the classes to keep, -1 for others."""
        kept = [name for name in self.objects.names if name in self.classes]
        table = [kept.index(name) if name in kept else -1 for name in self.objects.names]
        return np.array(table, dtype=np.int64)[self.objects.labels]

    @cached_property
    def usable(self) -> np.ndarray:
        """Which objects are in the samples: those of a kept class with some extent, a pixel or more wide and high."""
        a = self.objects
        inside = clip(to_xyxy(a.xywh), a.images.sizes[a.image_index])
        extended = (inside[:, 2:] > inside[:, :2]).all(axis=1) & (a.xywh[:, 2:] >= 1).all(axis=1)
        return extended & (a.areas > 0) & (self.labels >= 0) & ~a.ignore

    def image(self, index: int) -> dict[str, Any]:
        """Return file and size of an image, without its objects."""
        images, place = self.objects.images, self.order[index]
        width, height = images.sizes[place].tolist()
        return {
            "img_path": os.path.join(self.root, images.files[place]),  # noqa: PTH118  as MMDetection writes it
            "img_id": images.ids[place],
            "seg_map_path": None,
            "height": height,
            "width": width,
            **({} if self.meta is None else {"meta": torch.from_numpy(self.meta[place])}),
        }

    def __getitem__(self, index: Any) -> Any:
        """Return the sample of an image, or the samples of a slice."""
        if isinstance(index, slice):
            return Samples(self.annotations, self.root, self.classes, self.order[index], self.meta)
        place = int(self.order[index])
        first, last = self.bounds[place : place + 2].tolist()
        part, a = slice(first, last), self.objects
        columns = (self.usable[part], a.crowd[part], a.xywh[part], self.labels[part])
        instances = []
        for row, (usable, crowd, (x, y, w, h), label) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), start=first
        ):
            if usable:
                instances.append({"ignore_flag": int(crowd), "bbox": [x, y, x + w, y + h], "bbox_label": label})
                if (mask := a.masks[row]) is not None:
                    instances[-1]["mask"] = mask
        return {**self.image(index), "instances": instances}

    def chosen(self, *, with_objects: bool, min_size: int) -> Samples:
        """Return the samples of some images.

        Args:
            with_objects: Only those that show an object of the classes to keep, however small.
            min_size: Least width and height.
        """
        keep = self.objects.images.sizes[self.order].min(axis=1, initial=np.iinfo(np.int64).max) >= min_size
        if with_objects:
            shown = np.zeros(len(self.objects.images), dtype=bool)
            shown[self.objects.image_index[self.labels >= 0]] = True
            keep &= shown[self.order]
        return Samples(self.annotations, self.root, self.classes, self.order[keep], self.meta)

    def counts_and_shapes(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Return how many objects that are asked for each image has, and its height and width."""
        asked = self.usable & ~self.objects.crowd
        counts = np.bincount(self.objects.image_index[asked], minlength=len(self.objects.images))
        shapes = self.objects.images.sizes[self.order, ::-1]
        return counts[self.order].tolist(), [tuple(shape) for shape in shapes.tolist()]


class Others(Sequence):
    """The images of a data set for a transform that mixes several: read where it asks for them, the last one kept.

    To a transform with a cache it is that cache, with everything in it already.

    Args:
        length: Number of images.
        load: Makes one by its number; None: it is dropped, and the next one taken.
    """

    def __init__(self, length: int, load: Callable[[int], dict[str, Any] | None]) -> None:
        self.length, self.load = length, load
        self.last: tuple[int, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an image that may be changed.

        Raises:
            DataError: if a transform drops every image.
        """
        if self.last is None or self.last[0] != index:
            # MMDetection draws from 0 to the number of images, which is one too many
            tried = (self.load((index + n) % self.length) for n in range(self.length))
            found = next((results for results in tried if results is not None), None)
            if found is None:
                raise DataError("no image of the data set is left by the transforms in front of a Mosaic or MixUp")
            self.last = (index, found)
        return copy.deepcopy(self.last[1])

    def append(self, results: dict[str, Any]) -> None:
        """It is there already."""

    def pop(self, index: int) -> None:
        """It stays."""


class ColumnDataset(CocoDataset):
    """MMDetection's CocoDataset with the same samples in the same order, without reading the JSON.

    Takes what CocoDataset takes, and a table; ``serialize_data`` is to be False: there is nothing to serialise.
    """

    def __init__(self, *args: Any, table: PatientTable | None = None, **more: Any) -> None:
        self.table = table
        super().__init__(*args, **more)

    def load_data_list(self) -> Samples:
        """Open the columns."""
        samples = Samples(Path(self.ann_file), self.data_prefix["img"], self.metainfo["classes"])
        if self.table is not None:
            rows = [as_numbers(self.table.meta.get(f, {}), self.metainfo["meta"]) for f in samples.objects.images.files]
            samples.meta = np.array(rows, dtype=np.float32)
        return samples

    def filter_data(self) -> Samples:
        """Leave images out as ``filter_cfg`` says, in training."""
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        given = self.filter_cfg
        return self.data_list.chosen(
            with_objects=given.get("filter_empty_gt", False), min_size=given.get("min_size", 0)
        )

    def prepare_data(self, index: int) -> dict[str, Any] | None:
        """Bring an image through the pipeline.

        A transform that mixes several images (Mosaic, MixUp, CopyPaste) is given the others as they are in front of the
        first such, which is what MMDetection's MultiImageMixDataset does. One with a cache finds the whole data set in
        it: what it draws then depends on the random numbers of this image alone, not on what was read before.
        """
        return self._through(index, len(self.pipeline.transforms))

    def _through(self, index: int, end: int) -> dict[str, Any] | None:
        """The image after so many transforms; None if one drops it."""
        transforms, results = self.pipeline.transforms[:end], self.get_data_info(index)
        first = next((n for n, transform in enumerate(transforms) if hasattr(transform, "get_indexes")), end)
        for number, transform in enumerate(transforms):
            if hasattr(transform, "results_cache"):
                transform.results_cache = Others(len(self), partial(self._through, end=number))
            elif hasattr(transform, "get_indexes"):
                others = Others(len(self), partial(self._through, end=first))
                chosen = transform.get_indexes(others)
                results["mix_results"] = [others[n] for n in (chosen if isinstance(chosen, list) else [chosen])]
            kind, results = getattr(results.get("img"), "dtype", None), transform(results)
            if results is None:
                return None
            if results.pop("mix_results", None) is not None:
                results["img"] = results["img"].astype(kind, copy=False)  # CopyPaste makes 64-bit numbers of bytes
        return results

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return the sample of an image, a new one each time."""
        return {**self.data_list[index], "sample_idx": index % len(self)}
