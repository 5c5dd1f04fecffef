"""The class of each pixel of an image, with the transforms and the network of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from densekit.datasets.shared.image_loading import between, channels_first
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.inference.device import choose_device
from densekit.inference.images import ImagePredictor
from densekit.inference.segmentation.result import SegmentationResult
from densekit.inference.segmentation.source import load, shown_classes
from densekit.inference.transforms import build_transforms, check_finite
from densekit.io.depth import Ranges
from densekit.io.images import LoadedImage
from densekit.io.label_files import georeference
from densekit.ops.tile_settings import TileSettings
from densekit.package.checkpoint import Checkpoint, load_checkpoint

SCOPE = "mmseg"
TTA = {"scales": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75], "flip": True}
"""What is averaged over where that is asked for: MMSegmentation's own choice."""

_FACTS = ("ori_shape", "img_shape", "pad_shape", "scale_factor", "flip", "flip_direction")
"""What the network is told of an image."""


class SegmentationPredictor(ImagePredictor):
    """Says of each pixel of an image which class it is of.

    Args:
        model: Segmentor with :class:`~densekit.models.assemblies.class_maps.PredictsClassMaps`.
        labels: Class names by label.
        pipeline: Configs of the transforms between loading and packing; a ``test_pipeline`` of MMSegmentation may have
            its own of these with it, which are left out.
        inference: :class:`~densekit.ops.tile_settings.TileSettings` as plain values; None: the model's ``test_cfg``.
        colours: A colour ``(red, green, blue)`` of each class; None: the palette's.
        channels: Of the images.
        ranges: Of the training's images of more than 8 bits, see :mod:`densekit.io.depth`; None: not known.
        probabilities: Whether results have probabilities, of all classes at full size.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ConfigError: if a transform is unknown, a setting cannot be, the network has another number of classes than
            there are names, or the device is not there.
    """

    task = "segmentation"

    def __init__(
        self,
        model: nn.Module,
        labels: Sequence[str],
        pipeline: Sequence[Mapping[str, Any]] = (),
        *,
        inference: Mapping[str, Any] | None = None,
        colours: Sequence[Sequence[int]] | None = None,
        channels: int = 3,
        ranges: Ranges | None = None,
        probabilities: bool = False,
        device: str | torch.device = "auto",
    ):
        self.labels, self.colours, self.channels, self.ranges = tuple(labels), colours, channels, ranges
        self.probabilities = probabilities
        self.pipeline = between(pipeline)
        self.transforms = build_transforms(self.pipeline, SCOPE)
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.use(model.test_cfg if inference is None else inference)
        count = getattr(model, "num_classes", len(self.labels))
        if count != len(self.labels):
            raise ConfigError(
                f"the network has {count} classes, the label list {len(self.labels)} ({shown_classes(self.labels)}): "
                f"they do not belong together"
            )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path | Checkpoint,
        *,
        device: str | torch.device = "auto",
        tta: bool = False,
        probabilities: bool = False,
    ) -> SegmentationPredictor:
        """Build the network of a checkpoint and predict with the transforms and settings stored in it.

        Args:
            checkpoint: ``best.pth`` or another checkpoint written by densekit, or one that is read.
            device: As for the class.
            tta: Average over scales and mirror images (:data:`TTA`): twelve times the work.
            probabilities: As for the class.

        Raises:
            CheckpointError: if it cannot be read, is no segmentor, or does not fit the architecture or labels it names.
            ConfigError: if the device is not there.
        """
        device = choose_device(device)
        checkpoint = load_checkpoint(checkpoint)
        checkpoint.require_task(cls.task)
        given = checkpoint.preprocessing
        if not isinstance(given.get("pipeline"), list):
            raise CheckpointError(
                f"{checkpoint.path}: has no preprocessing.pipeline; use a checkpoint written by `densekit train`"
            )
        model = checkpoint.build_model()
        check_finite(model, checkpoint.path)
        try:
            predictor = cls(
                model,
                checkpoint.labels,
                given["pipeline"],
                inference={**checkpoint.inference, **(TTA if tta else {})},
                colours=given.get("colours"),
                channels=given.get("channels", 3),
                ranges=given.get("ranges"),
                probabilities=probabilities,
                device=device,
            )
        except ConfigError as error:
            raise CheckpointError(
                f"{checkpoint.path}: {error}; write the checkpoint again with this version"
            ) from error
        predictor.checkpoint = checkpoint
        return predictor

    def use(self, inference: Mapping[str, Any] | None) -> None:
        """Predict with these settings from now on.

        Raises:
            ConfigError: if one is unknown or cannot be.
        """
        self.settings = TileSettings.from_dict(inference)
        self.model.test_cfg = self.settings.to_dict()

    def load(self, source: Any) -> LoadedImage:
        return load(source, self.channels, self.ranges)

    def predict(
        self, source: LoadedImage | np.ndarray | Image.Image | str | Path, **options: Any
    ) -> SegmentationResult:
        """Predict one image; see :meth:`densekit.inference.images.ImagePredictor.predict`.

        A network of other than three channels takes files, and arrays ``(H, W, C)`` uint8.
        """
        image = self.load(source)
        return self.predict_prepared(self.prepare(image), image)

    def prepare(self, image: LoadedImage) -> dict[str, Any]:
        """Apply the transforms of the checkpoint.

        Returns:
            What the network's ``data_preprocessor`` takes: a batch of one.

        Raises:
            DataError: if a transform gives nothing for this image.
        """
        return self.prepare_pixels(image.pixels, self.transforms)

    def prepare_pixels(self, pixels: np.ndarray, transforms: Sequence[Any]) -> dict[str, Any]:
        """The same of pixels ``(H, W, C)``, with some of the transforms."""
        from mmseg.structures import SegDataSample

        shape = pixels.shape[:2]
        results: dict[str, Any] | None = {
            "img": pixels,
            "img_path": "",
            "img_shape": shape,
            "ori_shape": shape,
            "scale_factor": (1.0, 1.0),  # unless a transform resizes
            "flip": False,
            "seg_fields": [],
        }
        for transform in transforms:
            results = transform(results)
            if results is None:
                raise DataError(f"image of {shape[1]} x {shape[0]}: a transform of the checkpoint drops it")
        facts = {key: results[key] for key in _FACTS if results.get(key) is not None}
        inputs = torch.from_numpy(channels_first(results["img"]))
        return {"inputs": [inputs], "data_samples": [SegDataSample(metainfo=facts)]}

    def predict_prepared(self, data: dict[str, Any], image: LoadedImage) -> SegmentationResult:
        """Say of each pixel of an image which class it is of."""
        from mmengine.registry import DefaultScope

        with torch.no_grad(), DefaultScope.overwrite_default_scope(SCOPE):
            data = self.model.data_preprocessor(data, False)
            found = self.model.image_scores(data["inputs"], data["data_samples"])[0]
            labels = found.labels()[0].cpu().numpy()
            shares = found.probabilities()[0].to(torch.float16).cpu().numpy() if self.probabilities else None
        place = None if image.path is None else georeference(image.path)
        return SegmentationResult(
            labels=labels,
            names=self.labels,
            colours=self.colours,
            probabilities=shares,
            place=place,
            notes=(*image.notes, *self.notes(tuple(data["inputs"].shape[2:]), place)),
            image=image,
        )

    def notes(self, size: tuple[int, int], place: Any) -> list[str]:
        """What is to be said of an image that the network was given at a size (height, width)."""
        notes = [place.why_no_area] if place is not None and place.why_no_area else []
        s = self.settings
        if s.mode == "slide" and s.blend != "mean" and any(n < side for n, side in zip(size, s.crop, strict=True)):
            notes.append(f"smaller than the tiles of {s.crop[1]} x {s.crop[0]}: padded to that size")
        return notes
