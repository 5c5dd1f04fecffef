"""Transforms of samples: MONAI's under their own names, and the few that MONAI lacks. Importing this imports MONAI."""

from densekit.datasets.transforms.low_resolution import RandLowResolution
from densekit.datasets.transforms.mirror import AnatomicalMirror
from densekit.datasets.transforms.monai_bridge import register_monai_transforms
from densekit.datasets.transforms.nnunet import nnunet_augmentation
from densekit.datasets.transforms.pipeline import Pipeline
from densekit.datasets.transforms.rotate_scale import RandRotateScale

register_monai_transforms()

__all__ = ["AnatomicalMirror", "Pipeline", "RandLowResolution", "RandRotateScale", "nnunet_augmentation"]
