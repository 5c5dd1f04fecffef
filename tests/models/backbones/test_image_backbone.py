"""What the image backbones written here share."""

import pytest
import torch

from densekit.errors import CheckpointError, ConfigError
from densekit.models.backbones.hornet import HorNet
from densekit.models.backbones.mit import MixVisionTransformer

SMALL = {"widths": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "heads": (1, 1, 1, 1)}


def small(**options):
    return MixVisionTransformer(**SMALL, **options)


def test_some_maps_and_no_stage_beyond_them():
    backbone = small(out_indices=(0, 2), in_channels=4)
    assert (backbone.out_channels, backbone.out_strides) == ((8, 24), (4, 16))
    maps = backbone(torch.randn(1, 4, 64, 32))
    assert [tuple(m.shape) for m in maps] == [(1, 8, 16, 8), (1, 24, 4, 2)]
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_what_an_image_is_padded_with_is_cut_off_the_maps():
    network = HorNet(widths=(16, 16, 16, 16), depths=(1, 1, 1, 1)).eval()
    image = torch.randn(1, 3, 33, 70)
    with torch.no_grad():
        maps = network(image)
        padded = network(torch.nn.functional.pad(image, (0, 26, 0, 31)))
    assert [tuple(m.shape[2:]) for m in maps] == [(9, 18), (5, 9), (3, 5), (2, 3)]
    assert all(torch.equal(m, p[:, :, : m.shape[2], : m.shape[3]]) for m, p in zip(maps, padded, strict=True))


@pytest.mark.parametrize("channels", [1, 6])
def test_weights_of_rgb_serve_images_of_other_channels(tmp_path, channels):
    source, path = small().eval(), tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    backbone = small(in_channels=channels, pretrained=str(path)).eval()
    backbone.init_weights()
    grey = torch.randn(1, 1, 32, 32)
    with torch.no_grad():  # an image that is the same in all channels gives the same maps
        for a, b in zip(source(grey.expand(1, 3, 32, 32)), backbone(grey.expand(1, channels, 32, 32)), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("frozen", "stages"), [(-1, 0), (0, 0), (2, 2), (4, 4)])
def test_frozen_stages(frozen, stages):
    backbone = small(frozen_stages=frozen).train()
    for part, count in ((backbone.stages, stages), (backbone.downsamplings, max(stages, frozen + 1 > 0))):
        assert [not m.training for m in part] == [i < count for i in range(4)]
        assert [not any(p.requires_grad for p in m.parameters()) for m in part] == [i < count for i in range(4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_indices": (0, 4)}, r"MixVisionTransformer: out_indices=\(0, 4\): expected some of \(0, 1, 2, 3\)"),
        ({"out_indices": (1, 0)}, "in this order"),
        ({"out_indices": ()}, "expected some of"),
        ({"frozen_stages": 5}, "frozen_stages=5: expected a number from -1 to 4"),
        ({"drop_path_rate": 1}, "expected a probability"),
    ],
)
def test_what_does_not_exist_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_weights_from_a_file_are_loaded_when_a_training_starts(tmp_path):
    source, path = small(), tmp_path / "weights.pth"
    torch.save({"state_dict": source.state_dict()}, path)
    backbone = small(pretrained=str(path))
    key = "stages.3.blocks.0.attention.q.weight"
    assert not torch.equal(backbone.state_dict()[key], source.state_dict()[key])
    backbone.init_weights()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in backbone.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth holds 0 of the 100 tensors"):
        small(pretrained=str(tmp_path / "other.pth")).init_weights()
    with pytest.raises(CheckpointError, match="no such weights file"):
        small(pretrained="none.pth").init_weights()
