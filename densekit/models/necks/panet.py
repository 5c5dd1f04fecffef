"""Neck of PANet: an FPN and a second path, from fine to coarse.

S. Liu, L. Qi, H. Qin, J. Shi, J. Jia, *Path Aggregation Network for Instance Segmentation*, CVPR 2018, arXiv
1803.01534.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.necks import FPN
from torch import Tensor, nn

from densekit.models.contract import doubled
from densekit.registry import MODELS

RELU = {"type": "ReLU"}


@MODELS.register_module()
class PANetNeck(FPN):
    """FPN with bottom-up path augmentation as the paper has it.

    ``N_2 = P_2`` and ``N_{i+1} = ReLU(conv(P_{i+1} + ReLU(conv_s2(N_i))))``: what goes on up the path is the result of
    the *second* convolution. MMDetection's ``PAFPN`` passes on the sum and has no ReLU; ``paper_recurrence=False,
    act_cfg=None`` is that, with the same keys.

    What is not named here is as in MMDetection's FPN.

    Args:
        add_extra_convs: Where levels beyond the backbone's come from: False (max pooling), ``"on_input"``,
            ``"on_lateral"`` or ``"on_output"``.
        paper_recurrence: See above.
        norm_cfg: Norm after every convolution, those of the FPN too; the released recipe has
            ``dict(type="GN", num_groups=32)``.
        act_cfg: Activation in the bottom-up path; the FPN has none.

    Attributes:
        out_channels: Channels of each level of the result.
    """

    spatial_dims = 2

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_outs: int = 5,
        *,
        start_level: int = 0,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        paper_recurrence: bool = True,
        norm_cfg: Mapping | None = None,
        act_cfg: Mapping | None = RELU,
        init_cfg: Mapping | None = None,
    ):
        super().__init__(
            list(in_channels),
            out_channels,
            num_outs,
            start_level=start_level,
            add_extra_convs=add_extra_convs,
            relu_before_extra_convs=relu_before_extra_convs,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg or {"type": "Xavier", "layer": "Conv2d", "distribution": "uniform"},
        )
        self.in_channels, self.out_channels = tuple(in_channels), (out_channels,) * num_outs
        self.paper_recurrence = paper_recurrence

        def path(stride: int) -> nn.ModuleList:
            options = {"padding": 1, "norm_cfg": norm_cfg, "act_cfg": act_cfg, "inplace": False}
            steps = len(self.lateral_convs) - 1
            return nn.ModuleList(
                ConvModule(out_channels, out_channels, 3, stride=stride, **options) for _ in range(steps)
            )

        self.downsample_convs = path(stride=2)
        self.pafpn_convs = path(stride=1)

    def strides_from(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Strides of the result, of maps with these."""
        return doubled(strides[self.start_level :], self.num_outs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse the backbone's maps ``(B, C_i, H_i, W_i)``, fine to coarse, to ``num_outs`` of ``(B, C, H_l, W_l)``."""
        laterals = [conv(inputs[i + self.start_level]) for i, conv in enumerate(self.lateral_convs)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], laterals[i - 1].shape[2:], mode="nearest")
        pyramid = [self.fpn_convs[i](x) for i, x in enumerate(laterals)]
        outputs = self._bottom_up(pyramid)
        sources = {
            "on_input": inputs[self.backbone_end_level - 1],
            "on_lateral": laterals[-1],
            "on_output": outputs[-1],
        }
        for level in range(len(outputs), self.num_outs):
            if not self.add_extra_convs:
                outputs.append(F.max_pool2d(outputs[-1], 1, stride=2))
                continue
            first = level == len(pyramid)
            source = sources[self.add_extra_convs] if first else outputs[-1]
            activated = F.relu(source) if self.relu_before_extra_convs and not first else source
            outputs.append(self.fpn_convs[level](activated))
        return tuple(outputs)

    def _bottom_up(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        outputs, carried = [pyramid[0]], pyramid[0]
        for x, down, conv in zip(pyramid[1:], self.downsample_convs, self.pafpn_convs, strict=True):
            fused = x + down(carried)
            outputs.append(conv(fused))
            carried = outputs[-1] if self.paper_recurrence else fused
        return outputs
