"""Finding objects in one image, with the transforms and the network of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from densekit.config_tree import dotted, walk
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.inference.detection.result import DetectionResult
from densekit.inference.device import choose_device
from densekit.inference.images import ImagePredictor
from densekit.inference.transforms import build_transforms, check_finite
from densekit.io.depth import Ranges
from densekit.io.images import LoadedImage
from densekit.ops import run_lengths
from densekit.package.checkpoint import Checkpoint, load_checkpoint
from densekit.structures.boxes import to_xywh
from densekit.structures.detections import Images, check_threshold

DEFAULT_THRESHOLD = 0.3

_SCOPE = "mmdet"


class DetectionPredictor(ImagePredictor):
    """Finds objects in images.

    Args:
        model: Detector of MMDetection's form: ``test_step`` takes ``inputs`` and ``data_samples``.
        labels: Class names by label, without background.
        pipeline: Configs of the transforms between loading and packing; a ``test_pipeline`` of MMDetection may have its
            own of these with it, which are left out.
        threshold: Lowest score that counts as found; :meth:`predict` returns the others too.
        masks: Whether the network predicts masks.
        ranges: Of the training's images of more than 8 bits, see :mod:`densekit.io.depth`; None: not known.
        device: ``"auto"`` (CUDA if there is any), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ConfigError: if a transform is unknown or the device is not there, or for a threshold outside 0 to 1.
    """

    task = "detection"

    def __init__(
        self,
        model: nn.Module,
        labels: Sequence[str],
        pipeline: Sequence[Mapping[str, Any]] = (),
        *,
        threshold: float = DEFAULT_THRESHOLD,
        masks: bool = False,
        ranges: Ranges | None = None,
        device: str | torch.device = "auto",
    ):
        self.labels = tuple(labels)
        self.threshold = check_threshold(threshold)
        self.masks = masks
        self.ranges = ranges
        from densekit.datasets.detection.loading import PackImage
        from densekit.datasets.shared.image_loading import between

        self.pipeline = between(pipeline)
        self._transforms = [*build_transforms(self.pipeline, _SCOPE), PackImage()]
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path | Checkpoint, *, device: str | torch.device = "auto", threshold: float | None = None
    ) -> DetectionPredictor:
        """Build the network of a checkpoint and predict with the transforms and the threshold stored in it.

        Args:
            checkpoint: ``best.pth`` or another checkpoint written by densekit, or one that is read.
            device: As for the class.
            threshold: Replaces the checkpoint's score threshold.

        Raises:
            CheckpointError: if it cannot be read, is no detector, or does not fit the architecture or labels it names.
            ConfigError: if the threshold cannot be or the device is not there.
        """
        device = choose_device(device)
        checkpoint = load_checkpoint(checkpoint)
        checkpoint.require_task(cls.task)
        if threshold is None:
            threshold = checkpoint.inference.get("score_threshold", DEFAULT_THRESHOLD)
        check_threshold(threshold)
        _check_classes(checkpoint)
        pipeline = checkpoint.preprocessing.get("pipeline")
        if not isinstance(pipeline, list):
            raise CheckpointError(
                f"{checkpoint.path}: has no preprocessing.pipeline; use a checkpoint written by `densekit train`"
            )
        masks = bool(checkpoint.preprocessing.get("masks", False))
        ranges = checkpoint.preprocessing.get("ranges")
        model = checkpoint.build_model()
        check_finite(model, checkpoint.path)
        try:
            predictor = cls(
                model, checkpoint.labels, pipeline, threshold=threshold, masks=masks, ranges=ranges, device=device
            )
        except ConfigError as error:
            raise CheckpointError(
                f"{checkpoint.path}: {error}; write the checkpoint again with this version"
            ) from error
        predictor.checkpoint = checkpoint
        return predictor

    @property
    def own_threshold(self) -> float | None:
        """The score below which the network itself gives nothing; None if it does not say."""
        own = self._test_setting("score_thr")
        return None if own is None else float(own)

    @property
    def most(self) -> int | None:
        """So many detections the network gives of an image at most (``max_per_img``); None if it does not say."""
        return self._test_setting("max_per_img")

    def _test_setting(self, key: str) -> Real | None:
        found = walk(getattr(self.model, "test_cfg", None))
        own = (v for place, v in found if place[-1] == key and isinstance(v, Real) and "rpn" not in place)
        return next(own, None)

    def prepare(self, image: LoadedImage) -> dict[str, Any]:
        """Apply the transforms of the checkpoint.

        Returns:
            What ``test_step`` takes: a batch of one.

        Raises:
            DataError: if a transform gives nothing for this image.
        """
        shape = image.pixels.shape[:2]
        results: dict[str, Any] | None = {
            "img": image.pixels,
            "img_id": 0,
            "img_path": "",
            "img_shape": shape,
            "ori_shape": shape,
            "height": shape[0],
            "width": shape[1],
            "scale_factor": (1.0, 1.0),  # unless a transform resizes
            "flip": False,
        }
        for transform in self._transforms:
            results = transform(results)
            if results is None:
                raise DataError(f"image of {image.size[0]} x {image.size[1]}: a transform of the checkpoint drops it")
        return {"inputs": [results["inputs"]], "data_samples": [results["data_samples"]]}

    def predict_prepared(self, data: dict[str, Any], image: LoadedImage) -> DetectionResult:
        """Find the objects of an image, down to the network's own lowest score; see :meth:`DetectionResult.above`.

        Raises:
            DataError: if the network's results are NaN.
            CheckpointError: if the network finds classes that have no name.
        """
        from mmengine.registry import DefaultScope

        with torch.no_grad(), DefaultScope.overwrite_default_scope(_SCOPE):
            found = self.model.test_step(data)[0].pred_instances
        boxes = getattr(found.bboxes, "tensor", found.bboxes)
        scores = _array(found.scores, np.float32)
        # Equal scores stay in the network's order.
        order = np.argsort(-scores, kind="stable")
        masks = None
        if self.masks:
            encoded = run_lengths.encode(found.masks)
            masks = [encoded[place] for place in order]
        detections = DetectionResult(
            image_index=np.zeros(len(order), dtype=np.int64),
            xywh=to_xywh(_array(boxes, np.float32).reshape(-1, 4)[order]),
            labels=_array(found.labels, np.int64)[order],
            scores=scores[order],
            masks=masks,
            images=Images((0,), ("",), np.array([image.size], dtype=np.int64)),
            names=self.labels,
            notes=image.notes,
            image=image,
            threshold=self.threshold,
        )
        self._check(detections)
        return detections

    def _check(self, found: DetectionResult) -> None:
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            raise DataError("the network's boxes or scores are NaN or infinite for this image; was its training sound?")
        if len(found) and found.labels.max() >= len(self.labels):
            raise CheckpointError(
                f"the network finds class number {found.labels.max()}, but the label list has {len(self.labels)} "
                f"({', '.join(self.labels[:4])} ...): they do not belong together; write the checkpoint again"
            )


def _check_classes(checkpoint: Checkpoint) -> None:
    """Check that the heads have as many classes as there are names."""
    for place, count in walk(checkpoint.model_config, "model"):
        # a proposal head tells objects from background, whatever their class
        counts = place[-1] == "num_classes" and isinstance(count, int) and "rpn_head" not in place
        if counts and count != len(checkpoint.labels):
            raise CheckpointError(
                f"{checkpoint.path}: {dotted(place)} is {count}, but the label list has {len(checkpoint.labels)} "
                f"({', '.join(checkpoint.labels[:4])}{' ...' * (len(checkpoint.labels) > 4)}): they do not belong "
                f"together; write the checkpoint again"
            )


def _array(values: Any, dtype: type) -> np.ndarray:
    return values.detach().cpu().numpy().astype(dtype, copy=False)
