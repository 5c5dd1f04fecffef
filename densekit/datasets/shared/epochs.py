"""The epochs of a training on images: which comes when, and what is drawn for it, whatever the number of processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import Dataset


class SeededDataset(Dataset):
    """The items of a dataset over all epochs, each with random numbers of its own.

    Item ``epoch * len(self) + i`` is image ``i`` as that epoch sees it. A killed run that is resumed sees what an
    uninterrupted one sees, whatever the number of workers.

    Args:
        dataset: The images.
        seed: Seed of the run.
        repeat: Times the images are gone through in one epoch.
        final: The images as the last epochs see them, and the first of these epochs.
    """

    def __init__(self, dataset: Any, seed: int, repeat: int = 1, final: tuple[Any, int] | None = None) -> None:
        self.dataset, self.seed, self.repeat = dataset, seed, repeat
        self.final, self.switch = final or (dataset, 0)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset) * self.repeat

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Size and file of an item, for samplers that look at each: without its objects and its image."""
        return self.dataset.data_list.image(index % len(self.dataset))

    def __getitem__(self, index: int) -> dict[str, Any]:
        state = np.random.SeedSequence([self.seed, index]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))
        torch.random.default_generator.manual_seed(int(state[2]))  # torch.manual_seed formats the stack each time
        dataset = self.dataset if index // len(self) < self.switch else self.final
        return dataset[index % len(dataset)]


class EpochSampler(DefaultSampler):
    """MMEngine's sampler for :class:`SeededDataset`: its numbers carry the epoch, and every batch is a full one.

    Args:
        multiple: Samples of each process in an epoch are a multiple of this; some are taken twice to make it so.
        samples: Samples of each process in an epoch, at most as many as there are; None: all.
        **arguments: Those of MMEngine's DefaultSampler.
    """

    def __init__(self, *, multiple: int = 1, samples: int | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_samples = samples or -(-self.num_samples // multiple) * multiple
        self.total_size = self.num_samples * self.world_size

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * len(self.dataset)
        return (start + index for index in super().__iter__())
