"""Encoder-decoder for volumes: any 3D backbone, an optional neck, any volume head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.models.checks import check_fit
from densekit.ops.sliding_window import minimum, sliding_window_labels
from densekit.registry import MODELS

MODES = ("tensor", "loss", "predict")
INFERENCE = ("window", "overlap", "batch", "weights", "mirror_axes", "mirror_swaps", "activation")
"""Keys of ``VolumeSegmentor.inference``: arguments of :func:`densekit.ops.sliding_window.sliding_window`."""


@MODELS.register_module()
class VolumeSegmentor(BaseModel):
    """Segment volumes: backbone -> neck -> head, trained on patches, predicting whole volumes by sliding window.

    Args:
        backbone: Module or config; volume -> pyramid of maps.
        neck: Module or config; pyramid -> pyramid. None: the head takes the backbone's maps.
        head: Module or config; pyramid -> logits and loss (:class:`densekit.models.heads.VolumeHead`).
        inference: Arguments of :func:`densekit.ops.sliding_window.sliding_window` for mode ``"predict"``: ``window``
            (D, H, W) in voxels and, if wanted, ``overlap``, ``batch``, ``weights``, ``mirror_axes``, ``mirror_swaps``,
            ``activation``.
        data_preprocessor: See MMEngine; the default only moves tensors to the model's device.

    Raises:
        ConfigError: if parts do not fit each other, or ``inference`` has an unknown key.
    """

    def __init__(
        self,
        backbone: nn.Module | dict,
        *,
        head: nn.Module | dict,
        neck: nn.Module | dict | None = None,
        inference: Mapping[str, Any] | None = None,
        data_preprocessor: nn.Module | dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = _built(backbone)
        self.neck = None if neck is None else _built(neck)
        self.head = _built(head)
        if self.neck is not None:
            check_fit(self.backbone, self.neck, all_levels=True)
        check_fit(self.backbone if self.neck is None else self.neck, self.head, all_levels=False)
        self.inference = dict(inference or {})
        self._check_inference()

    @property
    def in_channels(self) -> int:
        """Channels of the volumes it takes."""
        return self.backbone.in_channels

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return self.head.num_classes

    def forward(
        self, inputs: Tensor, data_samples: Mapping[str, Any] | None = None, mode: str = "tensor"
    ) -> list[Tensor] | dict[str, Tensor] | list[dict[str, Any]]:
        """Run the model.

        Args:
            inputs: Volumes ``(B, C, D, H, W)``.
            data_samples: The batch's annotations, collated: ``label`` ``(B, D, H, W)``, ``case_id`` (B names),
                ``spacing`` ``(B, 3)``.
            mode: ``"tensor"``: logits, fine to coarse (several only while training with deep supervision). ``"loss"``:
                dict of losses whose sum is minimised. ``"predict"``: one dict per volume, see :meth:`predict`.

        Raises:
            ConfigError: for an unknown mode, volumes of another number of channels, or ``"predict"`` without a window.
        """
        if mode not in MODES:
            raise ConfigError(f"VolumeSegmentor: mode={mode!r}, expected one of {', '.join(MODES)}")
        if mode == "predict":
            return self.predict(inputs, data_samples)
        features = self.features(inputs)
        if mode == "loss":
            return self.head.loss(features, data_samples["label"])
        return self.head(features, size=inputs.shape[2:])

    def features(self, inputs: Tensor) -> Sequence[Tensor]:
        """Maps that the head takes, fine to coarse, of volumes ``(B, C, D, H, W)``."""
        if inputs.ndim != 5 or inputs.shape[1] != self.in_channels:
            raise ConfigError(
                f"{type(self.backbone).__name__} takes volumes (B, {self.in_channels}, D, H, W) and was given "
                f"{tuple(inputs.shape)}; set the backbone's in_channels to the number of channels of the data"
            )
        maps = self.backbone(inputs)
        return maps if self.neck is None else self.neck(maps)

    def predict_logits(self, inputs: Tensor) -> Tensor:
        """Full-resolution logits ``(B, K, D, H, W)`` of volumes ``(B, C, D, H, W)``, in one piece."""
        return self.head.predict(self.features(inputs), inputs.shape[2:])

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Predict whole volumes by sliding window.

        Args:
            inputs: Volumes ``(B, C, D, H, W)`` of any size.
            data_samples: As for :meth:`forward`; may be None.

        Returns:
            Per volume a dict: ``prediction`` (label map ``(D, H, W)``, uint8, on the CPU) and the entries of
            ``data_samples``.
        """
        if not self.inference.get("window"):
            raise ConfigError(
                "VolumeSegmentor.inference has no window; give inference=dict(window=(D, H, W)), the training patch"
            )
        settings = dict(self.inference)
        window = settings.pop("window")
        return [
            {
                "prediction": sliding_window_labels(
                    volume, self.predict_logits, window, fill=minimum(volume), **settings
                ),
                **{key: _moved(value[i]) for key, value in (data_samples or {}).items()},
            }
            for i, volume in enumerate(inputs)
        ]

    def _check_inference(self) -> None:
        for key in self.inference:
            if key not in INFERENCE:
                raise ConfigError(f"VolumeSegmentor.inference: unknown key {key!r}{close_names(key, INFERENCE)}")
        window, fixed = self.inference.get("window"), getattr(self.backbone, "fixed_size", None)
        if window and fixed and tuple(window) != fixed:
            raise ConfigError(
                f"VolumeSegmentor.inference: window={tuple(window)}, but the backbone takes exactly {fixed} "
                f"(img_size); make the two the same, and patch_size too"
            )


def _built(part: nn.Module | dict) -> nn.Module:
    return MODELS.build(part) if isinstance(part, dict) else part


def _moved(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value
