"""Non-maximum suppression through mmcv.ops: known answers, a plain loop as reference, and mmcv's faults gone."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
import torchvision.ops
from mmcv.ops import batched_nms, nms, nms_match, soft_nms

from densekit.errors import ConfigError
from densekit.ops.mmcv_ext.missing import MissingOperatorError

# b overlaps a by 60/140 = 3/7, c overlaps a by 80/120 = 2/3 and b by 80/120; d is far away.
A, B, C, D = [0, 0, 10, 10], [4, 0, 14, 10], [2, 0, 12, 10], [50, 50, 60, 60]


def boxes_of(*boxes, device="cpu", dtype=torch.float32) -> torch.Tensor:
    return torch.tensor(boxes, dtype=dtype, device=device)


def random_boxes(count: int, seed: int, side: float = 500.0, low: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes with corners from ``low`` on, and scores that are all different."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side + low
    size = torch.rand(count, 2, generator=generator) * side / 5 + 1
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)
    return torch.cat([corner, corner + size], 1), scores


def by_plain_loop(boxes, scores, idxs, iou_threshold) -> list[int]:
    """Class by class, best score first."""
    kept = []
    for index in idxs.unique():
        members = (idxs == index).nonzero().squeeze(1)
        kept += members[torchvision.ops.nms(boxes[members].double(), scores[members].double(), iou_threshold)].tolist()
    return sorted(kept, key=lambda i: -float(scores[i]))


def test_nms_known_answer(device):
    boxes, scores = boxes_of(A, B, C, D, device=device), torch.tensor([0.9, 0.8, 0.7, 0.6], device=device)
    dets, keep = nms(boxes, scores, 0.5)
    assert keep.tolist() == [0, 1, 3]  # c overlaps a by 2/3, b only by 3/7
    torch.testing.assert_close(dets, torch.cat([boxes[keep], scores[keep, None]], 1))
    assert nms(boxes, scores, 0.4)[1].tolist() == [0, 3]
    assert nms(boxes, scores, 0.5, score_threshold=0.65)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.5, max_num=2)[1].tolist() == [0, 1]


def test_nms_offset_counts_the_last_pixel():
    boxes, scores = boxes_of([0, 0, 9, 9], [5, 0, 14, 9]), torch.tensor([0.9, 0.8])
    # 4 x 9 of 126 pixels without it, 5 x 10 of 150 with it.
    assert nms(boxes, scores, 0.3)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.3, offset=1)[1].tolist() == [0]


def test_nms_keeps_the_first_of_equal_scores_and_an_overlap_equal_to_the_threshold():
    boxes, scores = boxes_of(A, A, [0, 0, 10, 5]), torch.tensor([0.5, 0.5, 0.4])
    assert nms(boxes, scores, 0.5)[1].tolist() == [0, 2]


def test_nms_of_numpy_arrays_and_of_nothing():
    boxes, scores = boxes_of(A, C, D), torch.tensor([0.9, 0.8, 0.7])
    dets, keep = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and keep.tolist() == [0, 2]
    dets, keep = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and keep.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_nms_takes_every_floating_dtype(dtype, device):
    boxes, scores = (
        boxes_of(A, B, C, D, device=device, dtype=dtype),
        torch.tensor([9, 8, 7, 6], device=device, dtype=dtype),
    )
    dets, keep = nms(boxes, scores, 0.5)
    assert keep.tolist() == [0, 1, 3] and dets.dtype == dtype
    dets, keep = batched_nms(boxes, scores, torch.zeros(4, device=device), {"iou_threshold": 0.5})
    assert keep.tolist() == [0, 1, 3] and dets.dtype == dtype


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (200, 3), (1500, 1), (1500, 3), (3000, 80), (3000, 1203)])
def test_batched_nms_equals_a_plain_loop(count, classes, seed, device):
    boxes, scores = random_boxes(count, seed)
    idxs = torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))
    dets, keep = batched_nms(
        boxes.to(device), scores.to(device), idxs.to(device), {"type": "nms", "iou_threshold": 0.5}
    )
    assert keep.tolist() == by_plain_loop(boxes, scores, idxs, 0.5)
    torch.testing.assert_close(dets.cpu(), torch.cat([boxes, scores[:, None]], 1)[keep.cpu()])


@pytest.fixture(scope="module")
def stock_batched_nms():
    """mmcv's own function, from its file, under another name."""
    spec = importlib.util.spec_from_file_location("mmcv.ops.stock_nms", sys.modules["mmcv.ops.nms"].__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.batched_nms


@pytest.mark.parametrize("config", [{"type": "nms", "iou_threshold": 0.6}, {"type": "soft_nms", "min_score": 0.05}])
@pytest.mark.parametrize("split_thr", [10_000, 100])
def test_batched_nms_equals_mmcvs_where_that_is_right(stock_batched_nms, config, split_thr):
    boxes, scores = random_boxes(400, seed=3, side=200)
    arguments = boxes, scores, torch.arange(400) % 5, {**config, "split_thr": split_thr}
    dets, keep = batched_nms(*arguments)
    stock_dets, stock_keep = stock_batched_nms(*arguments)
    assert stock_batched_nms is not batched_nms
    assert keep.tolist() == stock_keep.tolist()
    torch.testing.assert_close(dets, stock_dets)


def test_batched_nms_keeps_classes_apart_at_negative_coordinates():
    # With mmcv's shift by class * (largest coordinate + 1), here 1, both boxes would come to lie on each other.
    boxes = boxes_of([-10, -10, 0, 0], [-11, -11, -1, -1])
    _, keep = batched_nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), {"iou_threshold": 0.5})
    assert keep.tolist() == [0, 1]
    boxes, scores = random_boxes(900, seed=5, low=-600)
    idxs = torch.randint(0, 20, (900,), generator=torch.Generator().manual_seed(0))
    assert batched_nms(boxes, scores, idxs, {"iou_threshold": 0.5})[1].tolist() == by_plain_loop(
        boxes, scores, idxs, 0.5
    )


@pytest.mark.parametrize("count", [900, 10_001])
def test_batched_nms_is_class_agnostic_for_any_number_of_boxes(count):
    boxes, scores = random_boxes(count, seed=1, side=5000)
    idxs = torch.arange(count) % 80
    truth = by_plain_loop(boxes, scores, torch.zeros(count), 0.5)
    assert len(truth) < len(by_plain_loop(boxes, scores, idxs, 0.5))
    assert batched_nms(boxes, scores, idxs, {"iou_threshold": 0.5}, class_agnostic=True)[1].tolist() == truth
    assert batched_nms(boxes, scores, idxs, {"iou_threshold": 0.5, "class_agnostic": True})[1].tolist() == truth


def test_batched_nms_keeps_its_digits_with_many_classes_and_large_images():
    # In float32 a shift by 1,202 * 8,000 leaves whole pixels, and 2/3 of overlap becomes 1 or 1/3.
    boxes = boxes_of([7000, 7000, 7000.75, 7001], [7000.25, 7000, 7001, 7001], [0, 0, 8000, 8000])
    _, keep = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1202, 1202, 0]), {"iou_threshold": 0.6})
    assert keep.tolist() == [0, 1, 2]  # 1/2 of overlap


def test_batched_nms_is_not_voided_by_a_box_at_infinity():
    boxes = boxes_of(A, C, [0, 0, float("inf"), 5], [float("nan")] * 4)
    _, keep = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 1, 0, 0]), {"iou_threshold": 0.5})
    assert keep.tolist() == [0, 2, 3]


def test_batched_nms_options(device):
    boxes, scores = boxes_of(A, B, C, D, device=device), torch.tensor([0.9, 0.8, 0.7, 0.6], device=device)
    idxs = torch.tensor([0, 0, 1, 1], device=device)

    def kept(**config) -> list[int]:
        return batched_nms(boxes, scores, idxs, config)[1].tolist()

    assert kept(iou_threshold=0.5) == [0, 1, 2, 3]
    assert kept(iou_threshold=0.4) == [0, 2, 3]
    assert kept(iou_thr=0.4) == [0, 2, 3]  # the key of old configs
    assert kept(iou_threshold=0.4, max_num=2) == [0, 2]
    assert kept(iou_threshold=0.4, score_threshold=0.65) == [0, 2]
    assert kept(iou_threshold=0.4, score_threshold=1.0) == []
    assert kept(iou_threshold=0.5, class_agnostic=True, split_thr=1) == [0, 1, 3]
    assert kept(type=nms, iou_threshold=0.4) == [0, 2, 3]
    dets, keep = batched_nms(boxes, scores, idxs, None)
    assert keep.tolist() == [0, 1, 2, 3] and dets.shape == (4, 5)
    dets, keep = batched_nms(boxes[:0], scores[:0], idxs[:0], {"iou_threshold": 0.5})
    assert dets.shape == (0, 5) and keep.shape == (0,)
    assert batched_nms(boxes[:0], scores[:0], idxs[:0], {"type": "soft_nms"})[0].shape == (0, 5)


def test_batched_nms_refuses_what_it_does_not_know():
    arguments = boxes_of(A, B), torch.tensor([0.9, 0.8]), torch.tensor([0, 0])
    with pytest.raises(ConfigError, match=r"iou_treshold.*did you mean 'iou_threshold'"):
        batched_nms(*arguments, {"type": "nms", "iou_treshold": 0.5})
    with pytest.raises(ConfigError, match="did you mean 'soft_nms'"):
        batched_nms(*arguments, {"type": "softnms"})
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        batched_nms(*arguments, {"type": "soft_nms", "method": "lineal"})
    with pytest.raises(ConfigError, match="iou_threshold is missing"):
        batched_nms(*arguments, {"type": "nms"})
    with pytest.raises(MissingOperatorError, match=r"nms_rotated.*mmrotate"):
        batched_nms(*arguments, {"type": "nms_rotated", "iou_threshold": 0.5})


def test_every_caller_gets_the_right_batched_nms():
    from mmdet.models.layers import bbox_nms

    assert batched_nms is sys.modules["mmcv.ops.nms"].batched_nms is bbox_nms.batched_nms
    assert batched_nms.__module__.startswith("densekit.")


def soft_nms_by_definition(boxes, scores, method, iou_threshold, sigma, min_score) -> list[tuple[int, float]]:
    """Take the best, weigh the others down by their overlap with it, drop the weak, repeat."""
    left, taken = {i: float(s) for i, s in enumerate(scores)}, []
    while left:
        best = max(left, key=left.get)
        taken.append((best, left.pop(best)))
        for i in list(left):
            overlap = float(torchvision.ops.box_iou(boxes[best : best + 1].double(), boxes[i : i + 1].double()))
            if method == "gaussian":
                left[i] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= iou_threshold:
                left[i] *= 1 - overlap if method == "linear" else 0
            if left[i] < min_score:
                del left[i]
    return taken


def test_soft_nms_known_answer():
    boxes, scores = boxes_of(A, C, D), torch.tensor([0.9, 0.8, 0.6])
    for method, factor in (("linear", 1 / 3), ("gaussian", np.exp(-((2 / 3) ** 2) / 0.5)), ("naive", 0.0)):
        dets, keep = soft_nms(boxes, scores, iou_threshold=0.5, sigma=0.5, min_score=0.01, method=method)
        assert keep.tolist() == ([0, 2, 1] if factor else [0, 2])  # c now comes after d
        expected = torch.tensor([0.9, 0.6, 0.8 * factor])[: len(keep)]
        torch.testing.assert_close(dets[:, 4], expected.float())
        torch.testing.assert_close(dets[:, :4], boxes[keep])
    assert soft_nms(boxes, scores, iou_threshold=0.5, min_score=0.3)[1].tolist() == [0, 2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_equals_its_definition(method, seed, device):
    boxes, scores = random_boxes(60, seed, side=100)
    expected = soft_nms_by_definition(boxes, scores, method, 0.3, 0.5, 0.05)
    dets, keep = soft_nms(boxes.to(device), scores.to(device), 0.3, 0.5, 0.05, method)
    assert dets.device.type == device
    assert keep.tolist() == [i for i, _ in expected]
    torch.testing.assert_close(dets[:, 4].cpu(), torch.tensor([score for _, score in expected]).float())


def test_soft_nms_by_class(device):
    boxes, scores = random_boxes(90, seed=7, side=100)
    idxs = torch.arange(90) % 3
    config = {"type": "soft_nms", "iou_threshold": 0.3, "method": "linear", "min_score": 0.05}
    dets, keep = batched_nms(boxes.to(device), scores.to(device), idxs.to(device), config)
    expected = {}
    for index in range(3):
        members = (idxs == index).nonzero().squeeze(1)
        taken = soft_nms_by_definition(boxes[members], scores[members], "linear", 0.3, 0.5, 0.05)
        expected |= {int(members[i]): score for i, score in taken}
    assert keep.tolist() == sorted(expected, key=lambda i: -expected[i])
    torch.testing.assert_close(dets[:, 4].cpu(), torch.tensor([expected[i] for i in keep.tolist()]))
    limited, _ = batched_nms(boxes.to(device), scores.to(device), idxs.to(device), {**config, "max_num": 5})
    torch.testing.assert_close(limited, dets[:5])


def test_soft_nms_of_boxes_without_area():
    dets, keep = soft_nms(boxes_of([3, 1, 3, 1], [3, 1, 3, 1]), torch.tensor([0.5, 0.4]), 0.6)
    assert keep.tolist() == [0, 1] and dets[:, 4].tolist() == pytest.approx([0.5, 0.4])


def test_nms_match_groups_what_is_suppressed(device):
    boxes = boxes_of(A, B, C, D, [0, 0, 10, 5], device=device)
    dets = torch.cat([boxes, torch.tensor([[0.9], [0.8], [0.7], [0.6], [0.5]], device=device)], 1)
    groups = nms_match(dets, 0.5)
    # The last one overlaps a by exactly 1/2, which nms would let pass.
    assert [group.tolist() for group in groups] == [[0, 2, 4], [1], [3]]
    assert [group.tolist() for group in nms_match(dets.cpu().numpy(), 0.9)] == [[0], [1], [2], [3], [4]]
    assert nms_match(dets[:0], 0.5) == []
    nothing = torch.tensor([[3.0, 1, 3, 1, 0.9], [3, 1, 3, 1, 0.8]])
    assert [group.tolist() for group in nms_match(nothing, 0.5)] == [[0], [1]]


@pytest.mark.parametrize(("low", "kept"), [(0.2, [0, 1, 2]), (0.04, [0, 1]), (0.0, [0, 1])])
def test_soft_nms_keeps_nothing_below_the_lowest_score_but_the_best_of_all(low, kept):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    scores, classes = torch.tensor([0.9, 0.5, low]), torch.tensor([0, 1, 2])
    config = {"type": "soft_nms", "iou_threshold": 0.5, "min_score": 0.05}
    assert batched_nms(boxes, scores, classes, dict(config))[1].tolist() == kept
    found = batched_nms(boxes, scores / 100, classes, dict(config))
    assert found[1].tolist() == [0]  # all are below: mmcv keeps the best of all
    assert batched_nms(boxes[:0], scores[:0], classes[:0], dict(config))[1].tolist() == []
