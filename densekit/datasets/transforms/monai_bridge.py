"""MONAI's dictionary transforms in the TRANSFORMS registry, under their own names."""

from __future__ import annotations

import monai.transforms
from monai.transforms import MapTransform

from densekit.registry import TRANSFORMS


def register_monai_transforms() -> None:
    """Make every dictionary transform of MONAI usable by its name: ``dict(type="RandFlipd", keys=("inputs",))``.

    MONAI exports each of them under three names (``RandFlipd``, ``RandFlipD``, ``RandFlipDict``); the one that ends in
    ``d``, which is the name of the class, is registered. A name that is already taken is left alone.
    """
    for name, part in vars(monai.transforms).items():
        is_dictionary_transform = isinstance(part, type) and issubclass(part, MapTransform)
        if (
            is_dictionary_transform
            and name == part.__name__
            and name.endswith("d")
            and name not in TRANSFORMS.module_dict
        ):
            TRANSFORMS.register_module(name=name, module=part)
