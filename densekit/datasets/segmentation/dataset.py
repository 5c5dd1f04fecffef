"""Images and labels as a training reads them: MMSegmentation's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from torch.utils.data import Dataset

from densekit.datasets.segmentation.loading import with_loading
from densekit.datasets.segmentation.prepared import Pair, PreparedSegmentation
from densekit.datasets.shared.patient_table import PatientTable, as_numbers, meta_columns
from densekit.errors import ConfigError, close_names


class Samples(Sequence):
    """What is known of each image before it is read."""

    def __init__(self, pairs: Sequence[Pair], meta: np.ndarray | None = None) -> None:
        self.pairs, self.meta = pairs, meta

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, index: int) -> dict[str, Any]:
        """Return files and size of an image."""
        image, mask, (width, height) = self.pairs[index]
        return {"img_path": image, "seg_map_path": mask, "height": height, "width": width}

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = {} if self.meta is None else {"meta": torch.from_numpy(self.meta[index])}
        return {**self.image(index), **row, "seg_fields": [], "reduce_zero_label": False, "label_map": None}


class SegmentationDataset(Dataset):
    """The pairs of one split.

    Items are ``{"inputs": (C, H, W), "data_samples": SegDataSample}``; ``gt_sem_seg`` is int64 ``(1, H, W)``, 255 where
    a pixel is ignored. Randomness is that of the transforms: :class:`~densekit.datasets.shared.epochs.SeededDataset`
    makes it a function of seed and index.

    Args:
        prepared: The data set.
        split: Name of the split.
        transforms: Those between loading and packing, MMSegmentation's or densekit's.
        test: Labels stay in the original size.
        table: Meta-information by file: ``meta`` of ``data_samples`` is a row of it, float32 ``(M,)``, its columns are
            ``metainfo["meta"]``.

    Raises:
        ConfigError: if there is no such split, or a transform cannot be built.
    """

    def __init__(
        self,
        prepared: PreparedSegmentation,
        split: str,
        transforms: Sequence[Mapping[str, Any]],
        *,
        test: bool = False,
        table: PatientTable | None = None,
    ) -> None:
        if split not in prepared.splits:
            raise ConfigError(
                f"{prepared.root}: has no split {split!r} (it has {', '.join(prepared.splits)})"
                f"{close_names(split, prepared.splits)}"
            )
        self.metainfo = {"classes": prepared.classes, "palette": prepared.colours, "reduce_zero_label": False}
        pairs, rows = prepared.splits[split], None
        if table is not None:
            self.metainfo["meta"] = columns = meta_columns(table.meta.values())
            rows = np.array([as_numbers(table.meta.get(pair.image, {}), columns) for pair in pairs], dtype=np.float32)
        self.data_list = Samples(pairs, rows)
        how = {"ranges": prepared.ranges, "channels": prepared.channels, "lookup": prepared.lookup}
        with DefaultScope.overwrite_default_scope("mmseg"):
            self.pipeline = Compose(with_loading(transforms, **how, test=test))

    def __len__(self) -> int:
        return len(self.data_list)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return what the first transform is given of an image, a new one each time."""
        return {**self.data_list[index], "sample_idx": index}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.pipeline(self.get_data_info(index))
