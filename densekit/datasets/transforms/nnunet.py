"""The augmentation of nnU-Net v1 in nnFormer's settings, as a list of plain transform configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from densekit.datasets.transforms.mirror import ANATOMICAL_AXES

# nnU-Net's threshold (ANISO_THRESHOLD) for a patch that is treated slice by slice
_ANISOTROPY = 3


def nnunet_augmentation(
    patch_size: Sequence[int],
    *,
    mirror_axes: Sequence[str] = tuple(ANATOMICAL_AXES),
    mirror_pairs: Sequence[Sequence[str]] | None = (),
    labels: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return the training pipeline of the nnFormer recipe: nnU-Net v1's augmentation without elastic deformation.

    Rotation +-30 degrees p 0.2; scale 0.7-1.4 p 0.2; Gaussian noise (sd up to 0.1) p 0.1; Gaussian blur (sigma 0.5-1)
    p 0.2; brightness x0.75-1.25 p 0.15; contrast x0.75-1.25 p 0.15; low resolution (zoom 0.5-1) p 0.25; inverted gamma
    0.7-1.5 p 0.1; gamma 0.7-1.5 p 0.3; mirroring. In a strongly anisotropic patch (largest side over 3 times the
    smallest) rotation, scaling and low resolution are confined to the planes across the shortest side.

    The recipe draws blur for each channel with probability 0.5 once it is drawn for a sample; here one draw of p 0.1
    serves all channels, which is the same for a single channel. Gamma likewise has one draw for all channels.

    Args:
        patch_size: (d, h, w) of the training patch.
        mirror_axes: Anatomical axes to mirror; empty for none.
        mirror_pairs: Pairs of class names that change places in a left-right mirror, as in a store's ``mirror_pairs``.
            None: mirror without touching labels, as the published recipe does (``relabel=False`` of
            :class:`~densekit.datasets.transforms.AnatomicalMirror`).
        labels: Class names by label value; needed for a left-right mirror that touches labels.

    Returns:
        Configs with registered names and JSON-able arguments, for ``VolumePatchDataset(pipeline=...)``.
    """
    patch_size = [int(n) for n in patch_size]
    shortest = patch_size.index(min(patch_size))
    degrees, axes = [30.0, 30.0, 30.0], [0, 1, 2]
    if max(patch_size) > _ANISOTROPY * min(patch_size):
        degrees = [30.0 if axis == shortest else 0.0 for axis in axes]
        axes.remove(shortest)
    image = {"keys": ["inputs"]}
    gamma = {"type": "RandAdjustContrastd", **image, "gamma": [0.7, 1.5], "retain_stats": True}
    sigma = {"sigma_x": [0.5, 1.0], "sigma_y": [0.5, 1.0], "sigma_z": [0.5, 1.0]}
    pipeline: list[dict[str, Any]] = [
        {
            "type": "RandRotateScale",
            "patch_size": patch_size,
            "degrees": degrees,
            "rotate_prob": 0.2,
            "scale": [0.7, 1.4],
            "scale_axes": axes,
            "scale_prob": 0.2,
        },
        {"type": "RandGaussianNoised", **image, "prob": 0.1, "mean": 0.0, "std": 0.1, "sample_std": True},
        {"type": "RandGaussianSmoothd", **image, "prob": 0.1, **sigma},
        {"type": "RandScaleIntensityd", **image, "prob": 0.15, "factors": [-0.25, 0.25], "channel_wise": True},
        {
            "type": "RandScaleIntensityFixedMeand",
            **image,
            "prob": 0.15,
            "factors": [-0.25, 0.25],
            "preserve_range": True,
        },
        {"type": "RandLowResolution", "prob": 0.25, "zoom_range": [0.5, 1.0], "axes": axes},
        {**gamma, "prob": 0.1, "invert_image": True},
        {**gamma, "prob": 0.3},
    ]
    if mirror_axes:
        mirror = {"type": "AnatomicalMirror", "axes": list(mirror_axes), "prob": 0.5}
        if mirror_pairs is None:
            pipeline.append({**mirror, "relabel": False})
        else:
            names = None if labels is None else list(labels)
            pipeline.append({**mirror, "swap": [list(pair) for pair in mirror_pairs], "labels": names})
    return pipeline
