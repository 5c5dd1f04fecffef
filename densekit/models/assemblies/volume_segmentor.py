"""Encoder-decoder for volumes: any 3D backbone, an optional neck, any volume head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.models.contract import check_fit, said
from densekit.registry import MODELS

MODES = ("tensor", "loss")


@MODELS.register_module()
class VolumeSegmentor(BaseModel):
    """Segment volumes: backbone -> neck -> head, trained on patches, giving the logits of windows.

    How windows become the label map of a scan is not the network's business: see
    :class:`densekit.inference.volume.VolumePredictor`, which validation uses as well.

    Args:
        backbone: Module or config; volume -> pyramid of maps.
        neck: Module or config; pyramid -> pyramid. None: the head takes the backbone's maps.
        head: Module or config; pyramid -> logits and loss (:class:`densekit.models.heads.VolumeHead`).
        data_preprocessor: See MMEngine; the default only moves tensors to the model's device.

    Raises:
        ConfigError: if parts do not fit each other.
    """

    spatial_dims = 3

    def __init__(
        self,
        backbone: nn.Module | dict,
        *,
        head: nn.Module | dict,
        neck: nn.Module | dict | None = None,
        data_preprocessor: nn.Module | dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = _built(backbone)
        self.neck = None if neck is None else _built(neck)
        self.head = _built(head)
        source = said(self.backbone)
        if self.neck is not None:
            check_fit(source, said(self.neck), all_levels=True)
            source = said(self.neck)
        check_fit(source, said(self.head), all_levels=False)

    @property
    def in_channels(self) -> int:
        """Channels of the volumes it takes."""
        return self.backbone.in_channels

    @property
    def fixed_size(self) -> tuple[int, int, int] | None:
        """The one size (d, h, w) of the windows it takes; None if it takes others."""
        return getattr(self.backbone, "fixed_size", None)

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return self.head.num_classes

    def forward(
        self, inputs: Tensor, data_samples: Mapping[str, Any] | None = None, mode: str = "tensor"
    ) -> list[Tensor] | dict[str, Tensor]:
        """Run the model.

        Args:
            inputs: Volumes ``(B, C, D, H, W)``.
            data_samples: The batch's annotations, collated: ``label`` ``(B, D, H, W)``.
            mode: ``"tensor"``: logits, fine to coarse (several only while training with deep supervision). ``"loss"``:
                dict of losses whose sum is minimised.

        Raises:
            ConfigError: for another mode, or volumes of another number of channels.
        """
        if mode not in MODES:
            raise ConfigError(
                f"VolumeSegmentor: mode={mode!r}, expected one of {', '.join(MODES)}; whole scans are predicted by "
                f"densekit.inference.volume.VolumePredictor"
            )
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


def _built(part: nn.Module | dict) -> nn.Module:
    return MODELS.build(part) if isinstance(part, dict) else part
