"""What mmcv.ops computes in plain torch works beside the stand-in of its extension."""

import torch
from mmcv.ops import CornerPool, CrissCrossAttention, SimpleRoIAlign, point_sample, rel_roi_point_to_rel_img_point


def test_point_sampling_is_there_and_right():
    y, x = torch.meshgrid(torch.arange(4) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    ramp = torch.stack([x, y])[None]
    points = torch.tensor([[[0.25, 0.5], [0.5, 0.25]]])
    torch.testing.assert_close(point_sample(ramp, points), torch.tensor([[[2.0, 4.0], [2.0, 1.0]]]))
    rois = torch.tensor([[0, 2.0, 1.0, 6.0, 3.0]])
    relative = rel_roi_point_to_rel_img_point(rois, torch.tensor([[[0.5, 0.5]]]), (4, 8))
    torch.testing.assert_close(relative, torch.tensor([[[0.5, 0.5]]]))
    torch.testing.assert_close(SimpleRoIAlign((1, 1), 1.0)(ramp, rois).flatten(), torch.tensor([4.0, 2.0]))


def test_what_is_plain_torch_in_mmcv_works():
    x = torch.tensor([[[[1.0, 3.0, 2.0]]]])
    assert CornerPool("left")(x).flatten().tolist() == [3.0, 3.0, 2.0]
    assert CrissCrossAttention(8)(torch.randn(1, 8, 3, 4)).shape == (1, 8, 3, 4)
