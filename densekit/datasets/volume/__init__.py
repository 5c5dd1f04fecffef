"""Volumes: raw layouts are prepared into one on-disk form (:mod:`~densekit.datasets.volume.store`) and read as samples.

MONAI is not imported from here; :mod:`densekit.datasets.transforms` does that.
"""

from densekit.datasets.volume.dataset import VolumeDataset, VolumePatchDataset
from densekit.datasets.volume.preprocessing import Preprocessing, SpatialResult
from densekit.datasets.volume.sampler import VolumePatchSampler
from densekit.datasets.volume.store import Store, StoredCase, open_store, write_store

__all__ = [
    "Preprocessing",
    "SpatialResult",
    "Store",
    "StoredCase",
    "VolumeDataset",
    "VolumePatchDataset",
    "VolumePatchSampler",
    "open_store",
    "write_store",
]
