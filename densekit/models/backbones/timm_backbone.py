"""timm's networks as 2D backbones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import CheckpointError, ConfigError, close_names
from densekit.models.on_meta import on_meta
from densekit.registry import MODELS

logger = logging.getLogger("densekit")


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """Any network of timm that gives feature maps.

    Args:
        name: timm's name, e.g. ``"convnext_tiny"`` or ``"resnet50.a1_in1k"``.
        pretrained: True: timm's weights, downloaded once. A path: a weights file of that network. False: none. They are
            loaded by :meth:`init_weights`, when a training starts, not when a checkpoint is opened.
        in_channels: Channels of the image.
        out_indices: Which of the network's maps are given, counted from the finest; None: all.
        norm_eval: Keep the statistics of batch norms as they are, also in training, for weights that fit them: batches
            of a detector are small. Default: where there are pretrained weights.
        args: Further arguments of the network, by timm's names.

    Raises:
        ConfigError: for an unknown name or argument, or a map that does not exist.

    Attributes:
        out_channels: Channels of the maps, fine to coarse.
        out_strides: Their strides.
        fixed_size: The only input size (H, W) the network takes, if it says so.
        mean: Mean of the images that the weights were trained on, per channel, for values from 0 to 255.
        std: Their SD.
    """

    spatial_dims = 2

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        norm_eval: bool | None = None,
        args: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.name, self.pretrained, self.in_channels = name, pretrained, in_channels
        self.norm_eval = bool(pretrained) if norm_eval is None else norm_eval
        self._options = dict(args or {}, in_chans=in_channels)
        if out_indices is not None:
            self._options["out_indices"] = tuple(out_indices)
        self.network = self._create(pretrained=False)
        info = self.network.feature_info
        self.out_channels, self.out_strides = tuple(info.channels()), tuple(info.reduction())
        cfg = self.network.default_cfg
        sized = (layer for layer in self.network.modules() if getattr(layer, "strict_img_size", False))
        self.fixed_size = next((tuple(layer.img_size) for layer in sized), None)
        self.mean, self.std = ([round(255 * v, 4) for v in cfg[key]] for key in ("mean", "std"))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, C, H, W)`` to maps ``(B, C_i, H_i, W_i)``, fine to coarse."""
        maps = self.network(x)
        # Some transformers give their maps as (B, H, W, C).
        return tuple(
            m if m.shape[1] == c else m.permute(0, 3, 1, 2) for m, c in zip(maps, self.out_channels, strict=True)
        )

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode; see ``norm_eval``."""
        super().train(mode)
        for layer in self.modules() if self.norm_eval else ():
            if isinstance(layer, _BatchNorm):
                layer.eval()
        return self

    def init_weights(self) -> None:
        """Load the pretrained weights, if any are wanted.

        Raises:
            CheckpointError: if they are not found, or are of another network.
        """
        if not self.pretrained:
            return
        where = {}
        if isinstance(self.pretrained, str):
            self._check_file(self.pretrained)
            where = {"pretrained_cfg_overlay": {"file": self.pretrained}}
        try:
            source = self._create(pretrained=True, **where)
        except OSError as error:
            raise CheckpointError(
                f"TimmBackbone(name={self.name!r}): its weights cannot be downloaded (no network?): fetch "
                "model.safetensors of "
                f"https://huggingface.co/timm/{self.name} elsewhere and give its path as pretrained=PATH"
            ) from error
        self.network.load_state_dict(source.state_dict())
        logger.info("TimmBackbone: pretrained weights of %s loaded", self.name)

    def _check_file(self, path: str) -> None:
        """timm takes what it finds in a file and leaves out the rest: is there enough of this network in it?"""
        import timm
        from timm.models import load_state_dict

        if not Path(path).is_file():
            raise CheckpointError(f"TimmBackbone(name={self.name!r}): {path}: no such weights file")
        given = load_state_dict(path, weights_only=True)
        with on_meta():
            wanted = timm.create_model(self.name).state_dict()
        found = [key for key, value in wanted.items() if key in given and given[key].shape == value.shape]
        if len(found) < len(wanted) / 2:
            raise CheckpointError(
                f"TimmBackbone(name={self.name!r}): {path} holds {len(found)} of the network's {len(wanted)} tensors, "
                "so it is of another network; give the file of this one"
            )

    def _create(self, **options: Any) -> nn.Module:
        import timm

        if not timm.is_model(self.name):
            known = [n for n in timm.list_models() if n[:3] == self.name[:3]]
            raise ConfigError(f"TimmBackbone: timm has no network {self.name!r}{close_names(self.name, known)}")
        try:
            return timm.create_model(self.name, features_only=True, **options, **self._options)
        except (TypeError, AssertionError, IndexError) as error:
            reason = " ".join(str(error).split()) or "out_indices beyond its maps"
            raise ConfigError(f"TimmBackbone(name={self.name!r}): timm refuses these arguments: {reason}") from error
