"""Data sets: raw layouts are prepared into one on-disk form (:mod:`~densekit.datasets.store`) and read as samples.

MONAI is not imported from here; :mod:`densekit.datasets.transforms` does that.
"""

from densekit.datasets.preprocessing import Preprocessing, SpatialResult
from densekit.datasets.sampler import VolumePatchSampler
from densekit.datasets.store import Store, StoredCase, open_store, write_store
from densekit.datasets.volume import VolumeDataset, VolumePatchDataset

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
