"""What a frozen encoder gives for an image, kept on disk: it is the same in every epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from densekit.io.atomic import atomic_path

Maps = tuple[Tensor, ...]


class FeatureStore:
    """Maps of images, a file for each image, in half precision.

    Args:
        folder: Where they are written; made when the first is.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def maps(self, names: Sequence[str], inputs: Tensor, encode: Callable[[Tensor], Sequence[Tensor]]) -> Maps:
        """The maps of a batch: those that are kept, or what is computed and kept then.

        Args:
            names: Of the images. Another name, or another size, is another image.
            inputs: ``(B, C, H, W)``.
            encode: Gives the maps of ``inputs``, fine to coarse.

        Returns:
            Each ``(B, C_i, H_i, W_i)`` in the precision of ``inputs``; rounded to half precision also when they are
            computed, so that every epoch sees the same.

        Raises:
            OutputError: if a file cannot be written.
        """
        files = [self._file(name, inputs.shape[1:]) for name in names]
        if all(file.is_file() for file in files):
            kept = [load_file(file) for file in files]
            return tuple(
                torch.stack([one[str(level)] for one in kept]).to(inputs.device, inputs.dtype)
                for level in range(len(kept[0]))
            )
        with torch.no_grad():
            maps = [level.half() for level in encode(inputs)]
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(files):
            with atomic_path(file) as temporary:
                save_file({str(n): level[number].cpu().contiguous() for n, level in enumerate(maps)}, temporary)
        return tuple(level.to(inputs.dtype) for level in maps)

    def _file(self, name: str, shape: Sequence[int]) -> Path:
        key = f"{name} {'x'.join(map(str, shape))}"
        return self.folder / f"{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}.safetensors"


class KeepsFeatures:
    """For a segmentor of MMSegmentation: its losses are computed from kept maps of the encoder, where there are some.

    Attributes:
        features: Where they are kept; None: they are computed each time.
    """

    features: FeatureStore | None = None
    _names: list[str] | None = None

    def loss(self, inputs: Tensor, data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of a batch."""
        if self.features is None:
            return super().loss(inputs, data_samples)
        self._names = [str(sample.metainfo["img_path"]) for sample in data_samples]
        try:
            return super().loss(inputs, data_samples)
        finally:
            self._names = None

    def extract_feat(self, inputs: Tensor) -> Any:
        """Maps of a preprocessed batch, behind the neck."""
        if self.features is None or self._names is None:
            return super().extract_feat(inputs)
        maps = self.features.maps(self._names, inputs, self.backbone)
        return self.neck(maps) if self.with_neck else maps
