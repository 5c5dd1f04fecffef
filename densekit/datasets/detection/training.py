"""Images and boxes as a training reads them: MMDetection's CocoDataset, its randomness a function of seed and index."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from torch.utils.data import Dataset


def coco_dataset(
    annotations: Path, root: Path, classes: Sequence[str], pipeline: list[dict[str, Any]], *, test: bool = False
) -> CocoDataset:
    """MMDetection's dataset of one split as :func:`~densekit.datasets.detection.prepare_detection` wrote it.

    Images without objects are kept. Items are ``{"inputs": uint8 (3, H, W) in BGR, "data_samples": DetDataSample}``.

    Args:
        annotations: COCO JSON of the split.
        root: Folder that its ``file_name`` is relative to.
        classes: Class names by label.
        pipeline: Transforms, with loading and packing.
        test: Only images in their order, no second try with another image where a transform gives none.
    """
    # pycocotools prints how it gets on
    with DefaultScope.overwrite_default_scope("mmdet"), redirect_stdout(io.StringIO()):
        return CocoDataset(
            ann_file=str(annotations),
            data_prefix={"img": str(root)},
            metainfo={"classes": tuple(classes)},
            filter_cfg={"filter_empty_gt": False},
            pipeline=pipeline,
            test_mode=test,
        )


class SeededDataset(Dataset):
    """The items of a dataset over all epochs, each with random numbers of its own.

    Item ``epoch * len(self) + i`` is image ``i`` as that epoch sees it. A killed run that is resumed sees what an
    uninterrupted one sees, whatever the number of workers.

    Args:
        dataset: MMDetection dataset.
        seed: Seed of the run.
        repeat: Times the images are gone through in one epoch.
    """

    def __init__(self, dataset: CocoDataset, seed: int, repeat: int = 1) -> None:
        self.dataset, self.seed, self.repeat = dataset, seed, repeat

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset) * self.repeat

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Size, file and objects of an item, without its picture."""
        return self.dataset.get_data_info(index % len(self.dataset))

    def __getitem__(self, index: int) -> dict[str, Any]:
        state = np.random.SeedSequence([self.seed, index]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))
        torch.random.default_generator.manual_seed(int(state[2]))  # torch.manual_seed formats the stack each time
        return self.dataset[index % len(self.dataset)]


class EpochSampler(DefaultSampler):
    """MMEngine's sampler for :class:`SeededDataset`: its numbers carry the epoch, and every batch is a full one.

    Args:
        multiple: Samples of each process in an epoch are a multiple of this; some are taken twice to make it so.
        **arguments: Those of MMEngine's DefaultSampler.
    """

    def __init__(self, *, multiple: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_samples = -(-self.num_samples // multiple) * multiple
        self.total_size = self.num_samples * self.world_size

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * len(self.dataset)
        return (start + index for index in super().__iter__())
