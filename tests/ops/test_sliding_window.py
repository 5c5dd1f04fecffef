"""Sliding window: equal to MONAI's for any size, overlap, batch; slabs equal the whole; mirroring keeps sides apart."""

import pytest
import torch
import torch.nn.functional as F
from monai.inferers import sliding_window_inference
from torch import nn

from densekit.errors import ConfigError
from densekit.ops import sliding_window as module
from densekit.ops.sliding_window import WindowPlan, minimum
from densekit.ops.window_settings import WindowSettings

torch.set_num_threads(1)


def network(channels: int = 1, classes: int = 3) -> nn.Module:
    """A network whose output depends on where a voxel lies in its window, so that blending matters."""
    torch.manual_seed(0)
    layers = nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, classes, 3, padding=1)
    return nn.Sequential(*layers).eval()


def volume(*shape: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(1))


def sliding_window(image, net, window, *, prepare=None, fill=None, progress=None, **settings):
    settings = WindowSettings(window, **settings)
    return module.sliding_window(image, net, settings, prepare=prepare, fill=fill, progress=progress)


def slabs_of(image, net, window, **settings):
    return module.sliding_window_slabs(image, net, WindowSettings(window, **settings))


def by_monai(image, net, window, overlap=0.5, mode="gaussian", batch=1):
    with torch.no_grad():
        return sliding_window_inference(image[None], window, batch, net, overlap=overlap, mode=mode)[0]


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((16, 16, 16), (8, 8, 8)),
        ((17, 23, 19), (8, 10, 6)),
        ((8, 10, 6), (8, 10, 6)),  # window equal to the volume
        ((5, 23, 3), (8, 10, 6)),  # smaller than the window in two axes, by odd counts
        ((1, 1, 1), (4, 5, 6)),
        ((9, 7, 8), (9, 3, 1)),
    ],
)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8, (0.5, 0.3, 0.0)])
def test_equals_monai(shape, window, overlap):
    image, net = volume(*shape), network()
    ours = sliding_window(image, net, window, overlap=overlap, batch=2)
    assert ours.shape == (3, *shape)
    torch.testing.assert_close(ours, by_monai(image, net, window, overlap), atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batch_size_does_not_change_the_result(batch):
    image, net = volume(17, 12, 19, channels=2), network(channels=2)
    ours = sliding_window(image, net, (8, 8, 8), batch=batch)
    torch.testing.assert_close(ours, by_monai(image, net, (8, 8, 8)), atol=1e-6, rtol=0)


def test_uniform_weights_equal_monais_constant_mode():
    image, net = volume(11, 12, 13), network()
    ours = sliding_window(image, net, (6, 6, 6), weights="uniform")
    torch.testing.assert_close(ours, by_monai(image, net, (6, 6, 6), mode="constant"), atol=1e-6, rtol=0)


def test_integer_volume_is_normalised_window_by_window_and_padded_with_zero_after_it():
    image = torch.randint(-1000, 1000, (1, 6, 14, 9), dtype=torch.int16)
    net, seen = network(), []

    def prepare(window):
        seen.append(window.dtype)
        return (window.float() - 40) / 300

    ours = sliding_window(image, net, (8, 8, 8), prepare=prepare)
    assert set(seen) == {torch.int16}
    torch.testing.assert_close(ours, by_monai((image.float() - 40) / 300, net, (8, 8, 8)), atol=1e-6, rtol=0)


def test_a_small_volume_is_padded_with_the_values_asked_for_before_normalisation():
    image = torch.randint(-1000, 1000, (2, 5, 14, 7), dtype=torch.int16)
    net = network(channels=2)

    def prepare(window):
        return (window.float() - 40) / 300

    padded = torch.stack([F.pad(c, (0, 1, 0, 0, 1, 2), value=int(c.min())) for c in image])
    expected = sliding_window(prepare(padded), net, (8, 8, 8))[:, 1:6, :, :7]
    ours = sliding_window(image, net, (8, 8, 8), prepare=prepare, fill=minimum(image))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.float64])
def test_any_dtype_of_volume_without_prepare(dtype):
    image = (torch.rand(1, 9, 9, 9) * 200).to(dtype)
    net = network().double() if dtype is torch.float64 else network()
    assert sliding_window(image, net, (6, 6, 10), fill=minimum(image)).shape == (3, 9, 9, 9)
    ours = sliding_window(image, net, (6, 6, 6))
    assert ours.dtype is torch.float32
    reference = by_monai(image.double(), network().double(), (6, 6, 6)).float()
    torch.testing.assert_close(ours, reference, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("shape", [(16, 9, 9), (19, 9, 9), (5, 9, 4), (8, 9, 9)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("batch", [1, 3])
def test_slabs_are_the_whole_and_no_deeper_than_a_window(shape, overlap, batch):
    image, net = volume(*shape), network(classes=4)
    whole = sliding_window(image, net, (8, 6, 6), overlap=overlap, batch=batch)
    torch.testing.assert_close(whole, by_monai(image, net, (8, 6, 6), overlap=overlap), atol=1e-4, rtol=1e-5)
    slabs = list(slabs_of(image, net, (8, 6, 6), overlap=overlap, batch=batch))
    assert max(slab.shape[1] for slab in slabs) <= 8
    assert torch.equal(torch.cat(slabs, dim=1), whole)


def test_mirroring_averages_softmax_over_all_flips():
    image, net = volume(8, 8, 8), network()
    ours = sliding_window(image, net, (8, 8, 8), mirror_axes=(0, 2))
    with torch.no_grad():
        flips = [[], [2], [4], [2, 4]]
        expected = sum(net(image[None].flip(f)).softmax(1).flip(f) for f in flips)[0] / 4
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    logits = sliding_window(image, net, (8, 8, 8), mirror_axes=(0, 2), activation="logits")
    with torch.no_grad():
        expected = sum(net(image[None].flip(f)).flip(f) for f in flips)[0] / 4
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)


def sided(x):
    """Classes: background, left organ, right organ. The organ is where x > 0, left where W is large."""
    left = torch.arange(x.shape[-1], device=x.device) >= x.shape[-1] / 2
    organ = x[:, 0] > 0
    return torch.stack([~organ, organ & left, organ & ~left], dim=1).float() * 10


def test_mirroring_left_right_swaps_paired_channels():
    image = volume(6, 6, 8)
    plain = sliding_window(image, sided, (6, 6, 8)).argmax(0)
    safe = sliding_window(image, sided, (6, 6, 8), mirror_axes=(0, 1, 2), mirror_swaps=[(1, 2)])
    assert torch.equal(safe.argmax(0), plain)
    assert safe.max() > 0.99  # both passes agree on the side
    unsafe = sliding_window(image, sided, (6, 6, 8), mirror_axes=(2,))
    assert unsafe[1:].max() < 0.51  # without swaps the passes contradict each other: what the parameter is for


def test_progress_ends_at_the_number_of_windows():
    calls = []
    sliding_window(
        volume(16, 16, 16), network(), (8, 8, 8), batch=4, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (27, 27)
    assert [done for done, _ in calls] == [4, 8, 12, 16, 20, 24, 27]


def test_no_gradient_is_recorded():
    assert not sliding_window(volume(4, 4, 4), network(), (4, 4, 4)).requires_grad
    assert not next(slabs_of(volume(4, 4, 4), network(), (4, 4, 4))).requires_grad
    assert torch.is_grad_enabled()


def test_half_precision_scores_are_summed_in_float32():
    image = volume(12, 12, 12)
    scores = sliding_window(image, lambda x: x.half().repeat(1, 2, 1, 1, 1), (6, 6, 6))
    assert scores.dtype is torch.float32
    torch.testing.assert_close(scores[0], image[0].half().float(), atol=1e-6, rtol=0)


def test_window_plan_covers_every_voxel():
    plan = WindowPlan.of((21, 5, 30), WindowSettings((8, 8, 8)))
    covered = torch.zeros(plan.padded_shape)
    for origin in plan.origins:
        covered[plan.region(origin)] += 1
    assert covered.min() >= 1


def test_a_swap_of_channels_that_the_network_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="channels 0 to 2"):
        sliding_window(volume(4, 4, 4), network(), (4, 4, 4), mirror_axes=(2,), mirror_swaps=[(1, 9)])


def test_network_of_another_output_size_is_refused():
    with pytest.raises(ConfigError, match="one score per class and voxel"):
        sliding_window(volume(8, 8, 8), nn.Conv3d(1, 2, 2, stride=2), (8, 8, 8))
