"""HorNet: published counts, official weights, and filters that fit maps of any size."""

import pytest
import torch

from densekit.models.backbones.hornet import GatedConv, GlobalLocalFilter, HorNet
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

PUBLISHED = {  # parameters with classifier, counted by MMPretrain; giga multiply-accumulates at 224
    "hornet_t": (22409512, 3.98),
    "hornet_t_gf": (22991848, 3.90),
    "hornet_s": (49528264, 8.83),
    "hornet_s_gf": (50401768, 8.71),
    "hornet_b": (87256680, 15.58),
    "hornet_b_gf": (88421352, 15.42),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_costs(name):
    parameters, cost = PUBLISHED[name]
    with on_meta():
        network = HorNet(**VARIANTS[name].arguments, out_norm=None).eval()
    dim = network.out_channels[-1]
    assert parameter_count(network) + 2 * dim + (dim + 1) * 1000 == parameters
    if name.startswith("hornet_t"):
        counted = multiply_accumulates(network, torch.empty(1, 3, 224, 224, device="meta"))
        assert counted / 1e9 == pytest.approx(cost, rel=0.005)  # norms and scales are not counted


def test_a_gated_convolution_is_the_recursion_of_the_paper():
    torch.manual_seed(0)
    layer, x = GatedConv(8, 3, None), torch.randn(1, 8, 9, 11)
    with torch.no_grad():
        mixed = layer.proj_in(x)
        p, q = mixed[:, :2], layer.dwconv(mixed[:, 2:]) / 3
        p = p * q[:, :2]
        p = layer.projs[0](p) * q[:, 2:6]
        p = layer.projs[1](p) * q[:, 6:]
        torch.testing.assert_close(layer(x), layer.proj_out(p))


@pytest.mark.parametrize("size", [(14, 14), (7, 10)])
def test_a_filter_of_ones_lets_its_half_of_the_channels_through(size):
    layer, x = GlobalLocalFilter(4, (14, 8)), torch.randn(2, 4, *size)
    with torch.no_grad():
        layer.complex_weight[..., 0], layer.complex_weight[..., 1] = 1, 0
        normed = layer.pre_norm(x)
        local = layer.dw(normed[:, :2])
        mixed = torch.stack([local[:, 0], normed[:, 2], local[:, 1], normed[:, 3]], dim=1)
        torch.testing.assert_close(layer(x), layer.post_norm(mixed), rtol=0, atol=1e-5)


def official(widths, depths, filters, *, mmpretrain):
    """Names and shapes of the official network's tensors, whatever its classifier."""
    shapes, before = {}, 3
    for i, (dim, depth, size) in enumerate(zip(widths, depths, filters, strict=True)):
        conv, norm, normed, side = ("0", "1", dim, 4) if i == 0 else ("1", "0", before, 2)
        layers = {f"downsample_layers.{i}.{conv}": (dim, before, side, side), f"norm{i}": (dim,)}
        layers[f"downsample_layers.{i}.{norm}"] = (normed,)
        for j in range(depth):
            block, dims = f"stages.{i}.{j}", [dim // 2**k for k in reversed(range(i + 2))]
            total = sum(dims)
            layers |= {f"{block}.norm1": (dim,), f"{block}.norm2": (dim,)}
            layers |= {f"{block}.pwconv1": (4 * dim, dim), f"{block}.pwconv2": (dim, 4 * dim)}
            layers |= {f"{block}.gnconv.proj_in": (2 * dim, dim, 1, 1), f"{block}.gnconv.proj_out": (dim, dim, 1, 1)}
            names = "projs" if mmpretrain else "pws"
            layers |= {f"{block}.gnconv.{names}.{k}": (dims[k + 1], dims[k], 1, 1) for k in range(i + 1)}
            shapes |= {f"{block}.gamma{k}{'.weight' if mmpretrain else ''}": (dim,) for k in (1, 2)}
            if size:
                shapes[f"{block}.gnconv.dwconv.complex_weight"] = (total // 2, *size, 2)
                shapes[f"{block}.gnconv.dwconv.dw.weight"] = (total // 2, 1, 3, 3)
                layers |= {f"{block}.gnconv.dwconv.{name}_norm": (total,) for name in ("pre", "post")}
            else:
                layers[f"{block}.gnconv.dwconv"] = (total, 1, 7, 7)
        shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
        shapes |= {f"{key}.bias": shape[:1] for key, shape in layers.items()}
        before = dim
    return shapes


@pytest.mark.parametrize("mmpretrain", [False, True])
def test_every_official_tensor_finds_its_place(mmpretrain):
    arguments = VARIANTS["hornet_t_gf"].arguments
    weights = {
        k: torch.empty(shape, device="meta") for k, shape in official(**arguments, mmpretrain=mmpretrain).items()
    }
    with on_meta():
        own = HorNet(**arguments).state_dict()
    renamed = HorNet.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert HorNet.rename_official(own) == dict(own)
