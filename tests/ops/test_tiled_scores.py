"""Images whole or by tiles, at several scales, mirrored: what is blended and averaged."""

import pytest
import torch
import torch.nn.functional as F

from densekit.errors import DataError
from densekit.ops import class_scores
from densekit.ops.class_scores import DenseScores
from densekit.ops.tile_settings import TileSettings
from densekit.ops.tiled_scores import predict_scores, tile_weights

torch.manual_seed(0)
MIXING = torch.randn(11, 3)


def network(inputs):
    """Eleven classes at a quarter of the resolution, from a few pixels around."""
    return DenseScores(torch.einsum("kc,bchw->bkhw", MIXING, F.avg_pool2d(inputs, 4)))


@pytest.fixture(params=[1, 1 << 22], ids=["a class at a time", "all classes"])
def at_a_time(request, monkeypatch):
    monkeypatch.setattr(class_scores, "_VALUES", request.param)


def by_hand(inputs, crop, stride, weights):
    """MMSegmentation's ``slide_inference``, with weights."""
    height, width = inputs.shape[2:]
    total, counts = torch.zeros(len(inputs), 11, height, width), torch.zeros(height, width)
    for i in range(max(height - crop[0] + stride[0] - 1, 0) // stride[0] + 1):
        for j in range(max(width - crop[1] + stride[1] - 1, 0) // stride[1] + 1):
            bottom, right = min(i * stride[0] + crop[0], height), min(j * stride[1] + crop[1], width)
            top, left = max(bottom - crop[0], 0), max(right - crop[1], 0)
            scores = network(inputs[:, :, top:bottom, left:right]).logits
            scores = F.interpolate(scores, (bottom - top, right - left), mode="bilinear")
            total[:, :, top:bottom, left:right] += scores * weights
            counts[top:bottom, left:right] += weights
    return total / counts


@pytest.mark.parametrize("blend", ["mean", "gaussian", "cosine"])
@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_are_summed_up_by_their_weights(at_a_time, blend, batch):
    inputs = torch.randn(2, 3, 76, 100)
    settings = TileSettings(mode="slide", crop=(32, 40), stride=(24, 32), blend=blend, batch=batch)
    scores = predict_scores(inputs, network, settings)
    whole = by_hand(inputs, (32, 40), (24, 32), tile_weights((32, 40), blend))
    assert torch.equal(scores.labels((76, 100)).long(), whole.argmax(1))
    torch.testing.assert_close(scores.probabilities((76, 100), [4]), whole.softmax(1)[:, 4:5])
    torch.testing.assert_close(scores[1:].probabilities((76, 100), [4]), whole.softmax(1)[1:, 4:5])


def test_weights_are_largest_in_the_middle_and_nowhere_zero():
    for blend in ("gaussian", "cosine"):
        weights = tile_weights((9, 15), blend)
        assert weights.argmax() == 4 * 15 + 7 and weights.min() > 0
        assert torch.allclose(weights, weights.flip(0, 1))
    assert (tile_weights((4, 4), "mean") == 1).all()


def test_an_image_smaller_than_the_crop_is_padded_but_for_the_mean():
    inputs, seen = torch.randn(1, 3, 20, 60), []

    def seeing(given):
        seen.append(tuple(given.shape[2:]))
        return network(given)

    assert predict_scores(inputs, seeing, TileSettings(mode="slide", crop=(32, 32))).labels((20, 60)).shape[1:] == (
        20,
        60,
    )
    assert set(seen) == {(32, 32)}
    seen.clear()
    predict_scores(inputs, seeing, TileSettings(mode="slide", crop=(32, 32), blend="mean"))
    assert set(seen) == {(20, 32)}
    seen.clear()
    whole = predict_scores(inputs, seeing, TileSettings(size_multiple=16))
    assert seen == [(32, 64)] and whole.labels((20, 60)).shape == (1, 20, 60)


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_scales_and_mirror_images_are_averaged_as_probabilities(at_a_time, mode):
    inputs = torch.randn(1, 3, 48, 64)
    settings = TileSettings(mode=mode, crop=(32, 32), blend="mean", scales=(1, 1.5), flip=True)
    plain = TileSettings(mode=mode, crop=(32, 32), blend="mean")

    def cut(scores):
        return F.interpolate(scores[..., :40, :], (50, 70), mode="bilinear")

    views = []
    for scale in (1, 1.5):
        scaled = F.interpolate(inputs, scale_factor=scale, mode="bilinear") if scale != 1 else inputs
        for flipped in (False, True):
            given = scaled.flip(-1) if flipped else scaled
            scores = predict_scores(given, network, plain).at(tuple(given.shape[2:]), slice(0, 11))
            scores = scores.flip(-1) if flipped else scores
            scores = F.interpolate(scores, (48, 64), mode="bilinear")
            views.append(cut(scores).softmax(1))
    mean = torch.stack(views).mean(0)
    found = predict_scores(inputs, network, settings)
    torch.testing.assert_close(found.probabilities((48, 64), restore=cut), mean)
    assert (found.labels((48, 64), cut).long() == mean.argmax(1)).float().mean() > 0.999
    torch.testing.assert_close(found.at((48, 64), slice(3, 5)), found.probabilities((48, 64), [3, 4]))
    assert found.total((48, 64)).allclose(torch.ones(()))


def test_an_image_too_small_for_the_network_is_told_in_the_users_terms():
    convolution = torch.nn.Conv2d(3, 2, 5)
    with torch.no_grad(), pytest.raises(DataError, match=r"as 4 x 3 pixels is too small .*inference\.size_multiple=32"):
        predict_scores(torch.zeros(1, 3, 3, 4), lambda x: DenseScores(convolution(x)), TileSettings())
    with pytest.raises(RuntimeError, match="expected input"):  # another mistake is not taken for it
        predict_scores(torch.zeros(1, 1, 9, 9), lambda x: DenseScores(convolution(x)), TileSettings())
