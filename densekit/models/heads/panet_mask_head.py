"""Mask head of PANet (arXiv 1803.01534): adaptive feature pooling and fully connected fusion."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import Tensor, nn

from densekit.errors import ConfigError
from densekit.models.layers.level_fusion import LevelFusion
from densekit.registry import MODELS


@MODELS.register_module()
class PANetMaskHead(FCNMaskHead):
    """MMDetection's mask head whose first convolution exists once per level, and a branch that sees the whole region.

    The branch leaves the trunk after a convolution, goes through two more and one fully connected layer, and says for
    each pixel whether it is foreground; its logit is added to those of all classes.

    It takes what :class:`AllLevelRoIExtractor` gives, ``(K, levels, C, h, w)``.

    Args:
        num_levels: Number of levels.
        fusion: ``"max"`` or ``"sum"``, over levels.
        with_ff: Whether there is a branch.
        ff_start: After how many convolutions the branch leaves the trunk.
        ff_relu: ReLU on the branch's logit. The released code has one, the paper does not; with it the branch can only
            add foreground.
        **kwargs: Those of MMDetection's ``FCNMaskHead``.

    Raises:
        ConfigError: if ``ff_start`` is not one of the convolutions.
    """

    spatial_dims, all_levels = 2, True

    def __init__(
        self,
        *,
        num_levels: int = 4,
        fusion: str = "max",
        with_ff: bool = True,
        ff_start: int = 3,
        ff_relu: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 1 <= ff_start <= self.num_convs:
            raise ConfigError(f"PANetMaskHead.ff_start={ff_start}: expected 1 to num_convs={self.num_convs}")
        self.ff_start = ff_start
        self.ff = self._branch(ff_relu) if with_ff else None
        self.convs[0] = LevelFusion([self._conv(self.in_channels) for _ in range(num_levels)], fusion)

    def _conv(self, in_channels: int, out_channels: int | None = None) -> ConvModule:
        size = self.conv_kernel_size
        options = {"padding": (size - 1) // 2, "conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg}
        return ConvModule(in_channels, out_channels or self.conv_out_channels, size, **options)

    def _branch(self, relu: bool) -> nn.Sequential:
        width = self.conv_out_channels
        height_in, width_in = self.roi_feat_size
        scale = 1 if self.upsample is None else self.scale_factor
        linear = nn.Linear(width // 2 * height_in * width_in, height_in * width_in * scale**2)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        shape = (1, height_in * scale, width_in * scale)
        layers = [self._conv(width), self._conv(width, width // 2), nn.Flatten(), linear, nn.Unflatten(1, shape)]
        return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(K, classes, 2h, 2w)`` of regions ``(K, levels, C, h, w)``; K may be 0."""
        branch = None
        for i, conv in enumerate(self.convs, start=1):
            x = conv(x)
            if self.ff is not None and i == self.ff_start:
                branch = self.ff(x)
        if self.upsample is not None:
            x = self.upsample(x)
            if self.upsample_method == "deconv":
                x = self.relu(x)
        logits = self.conv_logits(x)
        return logits if branch is None else logits + branch
