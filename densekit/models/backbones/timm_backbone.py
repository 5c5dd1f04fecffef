"""timm's networks as 2D backbones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densekit.errors import CheckpointError, ConfigError, close_names
from densekit.models.backbones.timm_sizes import NOT_PADDED, PLAIN, check_weights, family_of, size_arguments, sizes_of
from densekit.models.backbones.timm_stages import freeze_stages
from densekit.models.contract import per_axis, reason
from densekit.models.layers.patch import pad_to_multiple
from densekit.models.on_meta import on_meta
from densekit.registry import MODELS

logger = logging.getLogger("densekit")
OUT_NORMS = ("auto", "ln", "gn", "own", None)


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """Any network of timm that gives feature maps.

    A map of stride ``s`` has ``ceil(side / s)`` rows and columns, or one less where the network rounds down: what an
    image was padded with is cut off again.

    Args:
        name: timm's name, e.g. ``"convnext_tiny"`` or ``"resnet50.a1_in1k"``.
        pretrained: True: timm's weights, downloaded once. A path: a weights file of that network. False: none. They are
            loaded by :meth:`init_weights`, when a training starts, not when a checkpoint is opened. For images of other
            channels the first convolution is folded, for another ``img_size`` the position table is resampled.
        in_channels: Channels of the image.
        out_indices: Which of the network's maps are given, counted from the finest, or from the coarsest as -1, -2 ...;
            None: all, of a plain vision transformer those of its last three blocks.
        out_norm: What each map is normalised by: ``"ln"``, a layer norm over its channels, as published detectors and
            segmentors with Swin, ConvNeXt or FocalNet have it; ``"gn"``, a group norm of one group (PoolFormer);
            ``"own"``, the last norm of a plain vision transformer, with its weights (linear heads on DINOv2); None.
            ``"auto"``: ``"ln"`` for networks that compute channel-last (Swin, MambaOut), otherwise none, so that the
            weights of detectors trained before still fit.
        img_size: (H, W) of the images the network is made for, or the side of squares: it takes these alone, but with
            MaxViT, whose windows are 1/32 of it, multiples of it. None: whatever sizes it can take.
        output_stride: 8 or 16: later strides of a convolutional network become dilations.
        drop_path_rate: Of the deepest block; 0 at the first.
        frozen_stages: So many stages stay as they are, in eval mode, and what stands before them; 0: what stands before
            the first alone; -1: none. The first stage ends at stride 4.
        norm_eval: Keep the statistics of batch norms as they are, also in training, for weights that fit them: batches
            of a detector are small. Default: where there are pretrained weights.
        args: Further arguments of the network, by timm's names.

    Raises:
        ConfigError: for an unknown name or argument, a map that does not exist, a network without a pyramid of maps,
            or weights that do not fit ``img_size``.

    Attributes:
        out_channels: Channels of the maps, fine to coarse.
        out_strides: Their strides.
        size_multiple: What images are padded to a multiple of; None: nothing.
        fixed_size: The only input size (H, W) the network takes; None: it takes others.
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
        out_norm: str | None = "auto",
        img_size: int | Sequence[int] | None = None,
        output_stride: int | None = None,
        drop_path_rate: float | None = None,
        frozen_stages: int = -1,
        norm_eval: bool | None = None,
        args: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.name, self.pretrained, self.in_channels = name, pretrained, in_channels
        self.norm_eval = bool(pretrained) if norm_eval is None else norm_eval
        if out_norm not in OUT_NORMS:
            raise ConfigError(f"TimmBackbone(name={name!r}): out_norm={out_norm!r}: expected one of {OUT_NORMS}")
        self._own_norm = out_norm == "own"
        named = {
            "out_indices": None if out_indices is None else tuple(out_indices),
            "img_size": img_size,
            "output_stride": output_stride,
            "drop_path_rate": drop_path_rate,
        }
        self._options = {**{k: v for k, v in named.items() if v is not None}, **(args or {}), "in_chans": in_channels}
        self._check_name()
        if self._own_norm and family_of(name) not in PLAIN:
            raise ConfigError(
                f"TimmBackbone(name={name!r}): out_norm='own' is for plain vision transformers, whose last norm serves "
                "all maps; take 'ln'"
            )
        self._options |= size_arguments(name, self._options)
        if pretrained:
            check_weights(name, self._options)
        self.network = self._create(pretrained=False)
        self._declare()
        self.norms = self._norms(out_norm)
        self._still = freeze_stages(self.network, frozen_stages, f"TimmBackbone(name={name!r})")
        self.train()

    def _declare(self) -> None:
        info, cfg = self.network.feature_info, self.network.pretrained_cfg
        self.out_channels, self.out_strides = tuple(info.channels()), tuple(info.reduction())
        sizes = sizes_of(self.name, self.network, self._options)
        self.size_multiple, self.fixed_size = sizes.multiple, sizes.fixed
        self._channels_last = str(getattr(self.network, "output_fmt", None)).endswith("NHWC")
        self._bordered = family_of(self.name) in NOT_PADDED
        self.mean, self.std = ([round(255 * v, 4) for v in cfg[key]] for key in ("mean", "std"))
        if self.in_channels != 3:  # other channels than those of RGB: what these have in the middle
            self.mean, self.std = ([round(sum(v) / 3, 4)] * self.in_channels for v in (self.mean, self.std))

    def _norms(self, kind: str | None) -> nn.ModuleList:
        """A norm for each map; none at all where there is nothing to normalise by."""
        from timm.layers import LayerNorm2d

        if kind == "auto":
            kind = "ln" if self._channels_last else None
        if kind == "gn":
            return nn.ModuleList(nn.GroupNorm(1, channels) for channels in self.out_channels)
        if kind != "ln":
            return nn.ModuleList()
        eps = next((layer.eps for layer in self.network.modules() if isinstance(layer, nn.LayerNorm)), 1e-6)
        return nn.ModuleList(LayerNorm2d(channels, eps=eps) for channels in self.out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, C, H, W)`` to maps ``(B, C_i, H_i, W_i)``, fine to coarse.

        Raises:
            ConfigError: for images of another size than the only one the network takes.
        """
        size = tuple(x.shape[2:])
        if self.fixed_size and size != self.fixed_size:
            takes, got = (" x ".join(map(str, sides)) for sides in (self.fixed_size, size))
            raise ConfigError(
                f"TimmBackbone(name={self.name!r}): it takes images of {takes} (height x width) alone and got {got}; "
                "resize, crop or pad to that, or make it for others by img_size where it can be"
            )
        maps = self.network(pad_to_multiple(x, per_axis(self.size_multiple or 1, 2)))
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        maps = [self._fitted(m, size, stride) for m, stride in zip(maps, self.out_strides, strict=True)]
        return tuple(norm(m) for norm, m in zip(self.norms, maps, strict=True)) if self.norms else tuple(maps)

    def _fitted(self, x: Tensor, size: tuple[int, ...], stride: int) -> Tensor:
        """A map without what lies beyond the image, and with the border that convolutions without padding took."""
        height, width = (-(-side // stride) for side in size)
        x = x[:, :, :height, :width]
        rows, columns = height - x.shape[2], width - x.shape[3]
        if not self._bordered or not (rows or columns):
            return x
        return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode; see ``norm_eval`` and ``frozen_stages``."""
        super().train(mode)
        for layer in self.modules() if self.norm_eval else ():
            if isinstance(layer, _BatchNorm):
                layer.eval()
        for layer in self._still:
            layer.eval()
        return self

    def init_weights(self) -> None:
        """Load the pretrained weights, if any are wanted.

        Raises:
            CheckpointError: if they are not found, or are of another network.
            ConfigError: if they do not fit ``img_size``.
        """
        if not self.pretrained:
            return
        check_weights(self.name, self._options)
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

    def _check_name(self) -> None:
        import timm

        if not timm.is_model(self.name):
            known = [n for n in timm.list_models() if n[:3] == self.name[:3]]
            raise ConfigError(f"TimmBackbone: timm has no network {self.name!r}{close_names(self.name, known)}")

    def _create(self, **options: Any) -> nn.Module:
        import timm
        from timm.models._features import FeatureGetterNet

        given, who = {**options, **self._options}, f"TimmBackbone(name={self.name!r})"
        try:
            if not self._own_norm:
                return timm.create_model(self.name, features_only=True, **given)
            indices = given.pop("out_indices", 3)
            model = timm.create_model(self.name, num_classes=0, **given)
            network = FeatureGetterNet(model, out_indices=indices, norm=True)
            network.pretrained_cfg = model.pretrained_cfg
            return network
        except (AttributeError, NotImplementedError) as error:
            raise ConfigError(
                f"{who}: timm gives no feature maps of this network ({reason(error)}), so no neck or head can stand "
                "on it; take one that gives them, such as convnext_tiny"
            ) from error
        except (TypeError, AssertionError, IndexError) as error:
            what = " ".join(str(error).split()) or "out_indices beyond its maps"
            if "output_stride" in given and ("output_stride" in what or isinstance(error, AssertionError)):
                what = f"its strides cannot become dilations, output_stride={given['output_stride']} is to be left out"
            raise ConfigError(f"{who}: timm refuses these arguments: {what}") from error
