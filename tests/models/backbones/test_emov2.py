"""EMOv2: near and remote windows, counts, official weights find their place."""

import pytest
import torch

from densekit.models.backbones.emov2 import EMOv2, HybridWindowAttention
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS


def test_count_and_costs():
    for name, giga in (("emov2_1m", 0.29), ("emov2_2m", 0.49), ("emov2_5m", 1.04)):
        with on_meta():
            network = EMOv2(**VARIANTS[name].arguments, window=7).eval()
        dim = network.out_channels[-1]
        if name == "emov2_1m":
            assert (parameter_count(network) + 2 * dim + (dim + 1) * 1000) / 1e6 == pytest.approx(1.461, abs=0.0006)
        cost = multiply_accumulates(network, torch.empty(1, 3, 224, 224, device="meta"))
        assert cost / 1e9 == pytest.approx(giga, abs=0.017)  # published with what is done per element


def test_windows_close_and_remote():
    layer, x = HybridWindowAttention(4, 6, 2, 2), torch.randn(1, 4, 3, 5)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 1, 0, 1))  # 4x6: 2x3 windows of 2x2
        query, key = layer.qk(padded)[0].chunk(2)
        value = torch.nn.functional.gelu(layer.v(padded))[0]
        wanted = torch.zeros(6, 4, 6)
        places = [(y, x) for y in range(4) for x in range(6)]
        for same in (lambda y, x: (y // 2, x // 2), lambda y, x: (y % 2, x % 3)):
            for y, col in places:
                window = [p for p in places if same(*p) == same(y, col)]
                assert len(window) == 4
                for head in range(2):
                    q = query[2 * head : 2 * head + 2, y, col]
                    logits = torch.stack([q @ key[2 * head : 2 * head + 2, a, b] for a, b in window]) / 2**0.5
                    values = torch.stack([value[3 * head : 3 * head + 3, a, b] for a, b in window])
                    wanted[3 * head : 3 * head + 3, y, col] += logits.softmax(0) @ values
        torch.testing.assert_close(layer(x)[0], wanted[:, :3, :5])


def official(widths, depths):
    """Names and shapes of the official dense network's tensors, at the ratios of the smallest."""
    before, layers, norms = widths[0] // 2, {}, {}
    layers["stage0.0.conv"] = (before, 3, 3, 3)
    shapes = {"stage0.1.conv.weight": (before, 1, 3, 3), "stage0.2.conv.weight": (before, before, 1, 1)}
    norms |= {"stage0.0.norm": before, "stage0.1.norm": before}
    for i, (dim, depth, ratio) in enumerate(zip(widths, depths, (2, 2.5, 3, 3.5), strict=True)):
        for j in range(depth):
            block, hidden = f"stage{i + 1}.{j}", int(before * ratio * (1 if j else 2))
            if i < 2:
                norms[f"{block}.norm"] = before
            else:
                layers[f"{block}.norm.norm"] = (before,)
            if i > 1 and j:
                layers[f"{block}.eops.0.qk.conv"] = (2 * before, before, 1, 1)
                layers[f"{block}.eops.0.v.conv"] = (hidden, before, 1, 1)
            else:
                layers[f"{block}.eops.0.net.conv"] = (hidden, before, 1, 1)
            shapes[f"{block}.conv_local.conv.weight"] = (hidden, 1, 5, 5)
            norms[f"{block}.conv_local.norm"] = hidden
            shapes |= {f"{block}.proj.conv.weight": (dim, hidden, 1, 1), f"{block}.ls.gamma": (1, dim, 1, 1)}
            before = dim
    for name, dim in norms.items():
        layers[name] = (dim,)
        shapes |= {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,), f"{name}.num_batches_tracked": ()}
    shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
    return shapes | {f"{key}.bias": shape[:1] for key, shape in layers.items()}


def test_every_official_tensor_finds_its_place():
    arguments = VARIANTS["emov2_1m"].arguments
    weights = {key: torch.empty(shape, device="meta") for key, shape in official(**arguments).items()}
    with on_meta():
        own = EMOv2(**arguments).state_dict()
    renamed = EMOv2.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert EMOv2.rename_official(own) == dict(own)
