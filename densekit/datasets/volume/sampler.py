"""Which patches a process reads in an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from densekit.errors import ConfigError
from densekit.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class VolumePatchSampler(Sampler[int]):
    """Consecutive indices, for ever: epoch e is ``e * length`` to ``(e + 1) * length``, rank r of w takes every w-th.

    With :class:`~densekit.datasets.volume.dataset.VolumePatchDataset`, of which each index is another random patch,
    training continues after a restart with the very patches it would have read.

    Args:
        dataset: Its length is the number of samples per epoch over all processes.
        seed: Not used: the data set has its own. MMEngine's Runner gives one to every sampler.

    Raises:
        ConfigError: if the length is not a multiple of the number of processes.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self.length = len(dataset)
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0
        if self.length % self.world_size:
            raise ConfigError(
                f"length is {self.length} samples per epoch for {self.world_size} processes; expected a multiple of it"
            )

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length
        return iter(range(first + self.rank, first + self.length, self.world_size))

    def __len__(self) -> int:
        return self.length // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.epoch = epoch
