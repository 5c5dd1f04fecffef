"""Classes of pixels without the scores of all classes at full size: the same, to the last tie."""

import pytest
import torch
import torch.nn.functional as F

from densekit.ops import class_scores
from densekit.ops.class_scores import DenseScores, QueryScores

torch.set_num_threads(1)


@pytest.fixture(params=[1, 1 << 12, 1 << 22], ids=["one class", "some classes", "all classes"])
def at_a_time(request, monkeypatch):
    """Scores held at full size."""
    monkeypatch.setattr(class_scores, "_VALUES", request.param)


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7, 19, 33])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels last"])
@pytest.mark.parametrize("size", [(40, 56), (117, 130)])
def test_labels_are_the_argmax_of_the_interpolated_scores(at_a_time, classes, align_corners, layout, size):
    torch.manual_seed(classes)
    logits = torch.randn(2, classes, 10, 13).contiguous(memory_format=layout)
    whole = F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)
    labels = DenseScores(logits, align_corners).labels(size)
    assert labels.dtype == torch.uint8 and torch.equal(labels.long(), whole.argmax(1))


def test_of_equal_scores_the_first_class_wins(at_a_time):
    logits = torch.randint(0, 2, (1, 9, 6, 6)).float()
    assert torch.equal(DenseScores(logits).labels((6, 6)).long(), logits.argmax(1))
    assert DenseScores(torch.zeros(1, 9, 4, 4)).labels((16, 16)).max() == 0


def test_restoring_happens_before_the_classes_are_compared(at_a_time):
    logits = torch.randn(1, 11, 8, 8)

    def restore(scores):
        return F.interpolate(scores[..., :24, :30].flip(-1), (50, 41), mode="bilinear")

    whole = restore(F.interpolate(logits, (32, 32), mode="bilinear"))
    assert torch.equal(DenseScores(logits).labels((32, 32), restore).long(), whole.argmax(1))


def test_probabilities_are_the_softmax_at_full_size(at_a_time):
    logits = 5 * torch.randn(2, 7, 6, 9)
    whole = F.interpolate(logits, (20, 31), mode="bilinear").softmax(1)
    scores = DenseScores(logits)
    torch.testing.assert_close(scores.probabilities((20, 31)), whole)
    torch.testing.assert_close(scores.probabilities((20, 31), [5, 2]), whole[:, [5, 2]])
    torch.testing.assert_close(scores[1:].probabilities((20, 31)), whole[1:])


def test_queries_are_weighed_by_their_classes(at_a_time):
    """As MMSegmentation's Mask2FormerHead does it at full size."""
    torch.manual_seed(3)
    classes, masks = torch.randn(2, 5, 8).softmax(-1)[..., :-1], 3 * torch.randn(2, 5, 9, 7)
    at_full_size = F.interpolate(masks, (37, 30), mode="bilinear", align_corners=False).sigmoid()
    whole = torch.einsum("bqc,bqhw->bchw", classes, at_full_size)
    scores = QueryScores(classes, masks)
    assert scores.num_classes == 7
    torch.testing.assert_close(scores.at((37, 30), slice(2, 5)), whole[:, 2:5])
    assert (scores.labels((37, 30)).long() == whole.argmax(1)).float().mean() > 0.999
    cut = scores.labels((37, 30), lambda s: s[..., 5:, 3:])
    assert (cut.long() == whole.argmax(1)[..., 5:, 3:]).float().mean() > 0.999
    shares = whole / whole.sum(1, keepdim=True)
    torch.testing.assert_close(scores.probabilities((37, 30), [6, 1]), shares[:, [6, 1]])
