"""UniRepLKNet: the merged network does what the trained one does, and official weights find their place."""

import pytest
import torch
from torch import nn

from densekit.errors import ConfigError
from densekit.models.backbones.unireplknet import BRANCHES, DilatedReparameterizedConv, UniRepLKNet
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

SMALL = {"widths": (8, 16, 24, 32), "depths": (1, 1, 3, 1), "kernels": ((3,), (13,), (7, 5), (9,))}
COUNTS = {  # millions with classifier, as trained and merged; giga multiply-accumulates merged, at 224
    "a": (4.649, 4.445, 0.64),
    "f": (6.489, 6.244, 0.905),
    "p": (11.081, 10.753, 1.57),
    "t": (31.693, 31.072, 4.90),
    "s": (56.457, 55.700, 9.09),
}


def disturbed(module):
    """The module, with weights and statistics far from where they start."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand_like(tensor)
                tensor.add_(0.3 * noise if name.endswith("var") else 0.3 * (noise - 0.5))
    return module


@pytest.mark.parametrize("size", COUNTS)
def test_counts_and_costs(size):
    arguments, millions = VARIANTS[f"unireplknet_{size}"].arguments, []
    for deploy in (False, True):
        with on_meta():
            network = UniRepLKNet(**arguments, out_norm=None, deploy=deploy).eval()
        dim = arguments["widths"][-1]
        millions.append((parameter_count(network) + 2 * dim + (dim + 1) * 1000) / 1e6)
    offsets = sum(4 * dim * depth for dim, depth in zip(arguments["widths"], arguments["depths"], strict=True))
    # The merged counts of the specification still have the offsets of the global response norms.
    assert [millions[0], millions[1] + offsets / 1e6] == pytest.approx(COUNTS[size][:2], abs=0.0006)
    if size in "afp":
        cost = multiply_accumulates(network, torch.empty(1, 3, 224, 224, device="meta"))
        assert cost / 1e9 == pytest.approx(COUNTS[size][2], abs=0.006)


@pytest.mark.parametrize("kernel", BRANCHES)
def test_dilated_kernels_are_one_large_kernel(kernel):
    layer = disturbed(DilatedReparameterizedConv(4, kernel)).eval().double()
    weight, bias = layer.merged()
    x = torch.randn(1, 4, 20, 23, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            nn.functional.conv2d(x, weight, bias, padding=kernel // 2, groups=4), layer(x), rtol=0, atol=1e-12
        )


def test_the_merged_network_gives_the_same_maps():
    network = disturbed(UniRepLKNet(**SMALL)).eval().double()
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        wanted = network(image)
        network.merge()
        network.merge()  # a second time changes nothing
        merged = network(image)
        built = UniRepLKNet(**SMALL, deploy=True).eval().double()
        built.load_state_dict(network.state_dict())
        again = built(image)
    for a, b, c in zip(wanted, merged, again, strict=True):
        assert a.std() > 0.1
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        assert torch.equal(b, c)


def official(arguments, *, merged):
    """Names and shapes of the official network's tensors, whatever its classifier."""
    widths, shapes = arguments["widths"], {}
    first = widths[0] // 2
    convs = {"0.0": (first, 3), "0.3": (widths[0], first)}
    convs |= {f"{i}.0": (widths[i], widths[i - 1]) for i in (1, 2, 3)}
    for place, (dim, before) in convs.items():
        i, k = place.split(".")
        for key, shape in {f"{k}.weight": (dim, before, 3, 3), f"{k}.bias": (dim,)}.items():
            shapes[f"downsample_layers.{i}.{key}"] = shape
        shapes |= {f"downsample_layers.{i}.{int(k) + 1}.{kind}": (dim,) for kind in ("weight", "bias")}
    for i, (dim, depth, kernels) in enumerate(zip(widths, arguments["depths"], arguments["kernels"], strict=True)):
        shapes |= {f"norm{i}.{kind}": (dim,) for kind in ("weight", "bias")}
        for j in range(depth):
            block = _block(dim, kernels[j % len(kernels)], merged=merged)
            shapes |= {f"stages.{i}.{j}.{key}": shape for key, shape in block.items()}
    return shapes


def _block(dim, kernel, *, merged):
    norm = {"weight": (dim,), "bias": (dim,), "running_mean": (dim,), "running_var": (dim,), "num_batches_tracked": ()}
    shapes = {"se.down.weight": (dim // 4, dim, 1, 1), "se.down.bias": (dim // 4,)}
    shapes |= {"se.up.weight": (dim, dim // 4, 1, 1), "se.up.bias": (dim,)}
    shapes |= {"pwconv1.1.weight": (4 * dim, dim), "pwconv1.1.bias": (4 * dim,), "pwconv2.0.weight": (dim, 4 * dim)}
    shapes["act.1.gamma"] = (1, 1, 1, 4 * dim)
    conv = "dwconv.lk_origin" if kernel >= 7 else "dwconv"
    shapes[f"{conv}.weight"] = (dim, 1, kernel, kernel)
    if merged:
        return shapes | {f"{conv}.bias": (dim,), "pwconv2.0.bias": (dim,)}
    norms = ["norm", "pwconv2.2"]
    for k, r in BRANCHES[kernel] if kernel >= 7 else ():
        shapes[f"dwconv.dil_conv_k{k}_{r}.weight"] = (dim, 1, k, k)
        norms.append(f"dwconv.dil_bn_k{k}_{r}")
    norms += ["dwconv.origin_bn"] if kernel >= 7 else []
    shapes |= {f"{name}.{key}": shape for name in norms for key, shape in norm.items()}
    return shapes | {"gamma": (dim,), "act.1.beta": (1, 1, 1, 4 * dim)}


@pytest.mark.parametrize("merged", [False, True])
def test_every_official_tensor_finds_its_place(merged):
    arguments = VARIANTS["unireplknet_t"].arguments
    weights = {key: torch.empty(shape, device="meta") for key, shape in official(arguments, merged=merged).items()}
    with on_meta():
        own = UniRepLKNet(**arguments, deploy=merged).state_dict()
    renamed = UniRepLKNet.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert UniRepLKNet.rename_official(own) == dict(own)


def test_a_kernel_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"UniRepLKNet: kernels: 4 is none of 3, 5, 7, 9, 11, 13, 15, 17"):
        UniRepLKNet(kernels=((3,), (13,), (4,), (13,)))
