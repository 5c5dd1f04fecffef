"""What every 3D part of a model promises, run over all that are registered."""

import pytest
import torch

from densekit.models.layers.position_encoding import DynamicPositionEncoding
from densekit.registry import MODELS

DYNUNET = {
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, [1, 2, 2]],
    "upsample_kernel_size": [2, [1, 2, 2]],
    "filters": [4, 8, 16],
    "deep_supervision": True,
}
BACKBONES = {
    "DFormer": {"widths": (8, 16), "depths": (2, 1), "heads": (1, 2), "patch": (1, 2, 2), "unit": (2, 4, 4)},
    "MonaiNetwork": {"name": "DynUNet", "num_classes": 3, "args": DYNUNET},
}
NECKS = {"DFormerDecoder": {"in_channels": (8, 16, 24), "depths": (1, 2), "heads": (1, 2), "patch": (1, 2, 2)}}
HEADS = {
    "LogitsHead": {"num_classes": 3},
    "PatchExpandingHead": {"in_channels": (8, 16), "num_classes": 3, "patch": (1, 2, 2), "deep_supervision": 2},
}


def registered(room):
    """Names of the parts of densekit.models.<room> that are for volumes."""
    MODELS.import_from_location()
    found = {
        name: part for name, part in MODELS.module_dict.items() if part.__module__.startswith(f"densekit.models.{room}")
    }
    return sorted(name for name, part in found.items() if getattr(part, "spatial_dims", None) == 3)


def pyramid(channels, strides, size=(8, 16, 16), batch=2):
    """Random maps with the channels and strides that a part was built for."""
    return [
        torch.randn(batch, c, *(n // s for n, s in zip(size, stride, strict=True)), requires_grad=True)
        for c, stride in zip(channels, strides, strict=True)
    ]


def check_promised(maps, part, size):
    assert len(maps) == len(part.out_channels) == len(part.out_strides)
    for found, channels, stride in zip(maps, part.out_channels, part.out_strides, strict=True):
        assert found.shape[1] == channels
        assert tuple(found.shape[2:]) == tuple(n // s for n, s in zip(size, stride, strict=True))


def check_gradients(outputs, part):
    sum(o.square().mean() for o in outputs).backward()
    unused = [name for name, p in part.named_parameters() if p.grad is None]
    assert not unused
    assert all(torch.isfinite(p.grad).all() for p in part.parameters())


@pytest.mark.parametrize(("room", "known"), [("backbones", BACKBONES), ("necks", NECKS), ("heads", HEADS)])
def test_every_registered_part_is_tested_here(room, known):
    assert registered(room) == sorted(known)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone(name):
    backbone = MODELS.build({"type": name, "in_channels": 2, **BACKBONES[name]})
    assert backbone.in_channels == 2
    coarsest = backbone.out_strides[-1]
    size = tuple(2 * max(s, 4) for s in coarsest)
    volume = torch.randn(2, 2, *size)
    check_promised(backbone.eval()(volume), backbone, size)
    odd = backbone(torch.randn(1, 2, *(s - 1 for s in size)))
    assert all(n >= m - 1 for n, m in zip(odd[0].shape[2:], size, strict=True) if coarsest == (1, 1, 1))
    check_gradients(backbone.train()(volume), backbone)


@pytest.mark.parametrize("name", NECKS)
def test_neck(name):
    neck = MODELS.build({"type": name, **NECKS[name]})
    maps = pyramid(neck.in_channels, neck.in_strides)
    check_promised(neck(maps), neck, (8, 16, 16))
    check_gradients(neck(maps), neck)
    assert all(m.grad is not None for m in maps)


@pytest.mark.parametrize("name", HEADS)
def test_head(name):
    head = MODELS.build({"type": name, **HEADS[name]})
    maps, size = pyramid(head.in_channels, head.in_strides), (7, 15, 16)
    label = torch.randint(0, head.num_classes, (2, *size))
    assert [o.shape for o in head.eval()(maps, size=size)] == [(2, head.num_classes, *size)]
    assert torch.equal(head.predict(maps, size), head(maps, size=size)[0])
    losses = head.train().loss(maps, label)
    assert all(key.startswith("loss") and value.ndim == 0 for key, value in losses.items())
    check_gradients(losses.values(), head)
    # While training too, a prediction is the full-resolution output alone.
    assert head.predict(maps, size).shape == (2, head.num_classes, *size)


def test_the_position_encoding_learns_in_bfloat16_whatever_was_in_the_memory():
    """oneDNN's depth-wise 3D convolution reads memory that it has not written, see ``DynamicPositionEncoding``."""
    torch.manual_seed(0)
    layer, x = DynamicPositionEncoding(16), torch.randn(2, 2, 3, 3, 16)
    (layer(x) ** 2).mean().backward()
    expected = layer.conv.weight.grad.clone()
    for _ in range(40):
        layer.zero_grad()
        dirt = [torch.full((size,), float("nan")) for size in (16, 64, 256, 512, 1024, 4096, 16384) for _ in range(20)]
        with torch.autocast("cpu", torch.bfloat16):
            loss = (layer(x) ** 2).mean()
        del dirt
        loss.backward()
        assert layer.conv.weight.grad.isfinite().all()
        assert torch.allclose(layer.conv.weight.grad, expected, atol=1e-3)
