"""Boxes move with what they bound."""

import numpy as np
import torch

from densekit.ops.volume_boxes import centred_in, clipped, inside, mirrored, moved

BOXES = torch.tensor([[1.0, 2, 3, 4, 6, 8], [0, 0, 0, 2, 2, 2]])


def test_scaling_and_shifting_are_exact_and_a_rotation_is_enclosed():
    scaled = moved(BOXES, torch.diag(torch.tensor([2.0, 1, -1])), torch.tensor([0.0, 1, 10]))
    assert scaled[0].tolist() == [2, 3, 2, 8, 7, 7]
    turn = torch.tensor([[1.0, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]])
    corners = torch.cartesian_prod(*(BOXES[0, [axis, axis + 3]] for axis in range(3))) @ turn.T
    expected = torch.cat([corners.amin(dim=0), corners.amax(dim=0)])
    torch.testing.assert_close(moved(BOXES, turn, torch.zeros(3))[0], expected)


def test_a_mirrored_box_bounds_the_mirrored_voxels():
    shape = (5, 7, 9)
    for axes in ([0], [1, 2], [0, 1, 2]):
        flipped = np.flip(inside(BOXES[:1].numpy(), shape), axes)
        np.testing.assert_array_equal(inside(mirrored(BOXES[:1], axes, shape).numpy(), shape), flipped)


def test_clipping_keeps_what_lies_inside():
    boxes = torch.tensor([[-1.0, 2, 3, 2, 9, 4], [6, 0, 0, 8, 1, 1]])
    assert clipped(boxes, (5, 7, 9)).tolist() == [[0, 2, 3, 2, 7, 4], [5, 0, 0, 5, 1, 1]]
    assert centred_in(boxes, (5, 7, 9)).tolist() == [True, False]
