"""VWFormer's decoder: counts, keys and logits of the released variants."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.models.backbones.mit import MixVisionTransformer
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.heads.vwformer import (
    VWHead,
    multihead_to_nonlocal,
    nonlocal_to_multihead,
    rename_official,
)
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

B0, B2 = (32, 64, 160, 256), (64, 128, 320, 512)
SMALL = (4, 8, 12, 16)
RATIOS = (2, 4, 8)


def pyramid(channels, height, width, batch=2, **options):
    sizes = zip(channels, (4, 8, 16, 32), strict=True)
    return [torch.randn(batch, c, -(-height // s), -(-width // s), **options) for c, s in sizes]


# --- parameters and cost ----------------------------------------------------------------------------------------------
FOUR = {"image_pool": False, "channels": 256}
NARROW = {"width": 128, "low_width": 48}


@pytest.mark.parametrize(
    ("channels", "side", "options", "millions", "billions"),
    [
        pytest.param((96, 192, 384, 768), 512, {}, 7.62, 33.3, id="Swin-T, ConvNeXt-T and S"),
        pytest.param((96, 192, 384, 768), 512, FOUR, 6.92, 29.3, id="Swin-T, four branches"),
        pytest.param((128, 256, 512, 1024), 640, {}, 7.86, 53.2, id="Swin-B, ConvNeXt-B"),
        pytest.param((128, 256, 512, 1024), 640, FOUR, 7.15, 46.8, id="Swin-B, four branches"),
        pytest.param((192, 384, 768, 1536), 640, {}, 8.32, 54.0, id="Swin-L, ConvNeXt-L"),
        pytest.param((192, 384, 768, 1536), 640, FOUR, 7.61, 47.6, id="Swin-L, four branches"),
        pytest.param((256, 512, 1024, 2048), 640, {}, 8.78, 54.8, id="ConvNeXt-XL"),
        pytest.param((256, 512, 1024, 2048), 640, FOUR, 8.07, 48.5, id="ConvNeXt-XL, four branches"),
        pytest.param(B0, 512, {"preset": "paper"}, 0.482, 2.47, id="MiT-B0"),
        pytest.param(B2, 512, {"preset": "paper", "width": 128}, 0.545, 2.55, id="MiT-B1"),
        pytest.param(B2, 512, {"preset": "paper"}, 6.717, 29.03, id="MiT-B2 to B5"),
        pytest.param(B2, 640, {"preset": "paper"}, 6.717, 46.07, id="MiT-B5, 640"),
        pytest.param(B0, 512, {}, 0.518, 2.58, id="MiT-B0, released head"),
        pytest.param(B2, 512, NARROW, 0.581, 2.67, id="MiT-B1, released head"),
        pytest.param(B2, 512, {}, 7.427, 33.08, id="MiT-B2 to B5, released head"),
        pytest.param(B2, 640, {}, 7.427, 52.40, id="MiT-B5, 640, released head"),
    ],
)
def test_parameters_and_cost(channels, side, options, millions, billions):
    with on_meta():
        head = VWHead(channels, num_classes=150, **options).eval()
    cost = multiply_accumulates(head, pyramid(channels, side, side, 1, device="meta"))
    assert round(parameter_count(head) / 1e6, len(str(millions)) - 2) == millions
    assert cost / 1e9 == pytest.approx(billions, abs=0.06)


DEEP = pytest.mark.slow(reason="dozens of blocks are counted one by one")


@pytest.mark.parametrize(
    ("encoder", "side", "options", "millions", "billions"),
    [
        ("mit_b0", 512, {}, 3.80, 5.68),
        ("mit_b1", 512, {"width": 128}, 13.70, 12.99),
        ("mit_b2", 512, {}, 30.91, 49.27),
        pytest.param("mit_b3", 512, {}, 50.79, 65.89, marks=DEEP),
        pytest.param("mit_b4", 512, {}, 67.56, 82.50, marks=DEEP),
        pytest.param("mit_b5", 640, {}, 88.16, 163.43, marks=DEEP),
    ],
)
def test_totals_with_mit(encoder, side, options, millions, billions):
    variant = VARIANTS[encoder]
    with on_meta():
        network = nn.Sequential(
            MixVisionTransformer(**variant.arguments),
            VWHead(variant.widths, num_classes=150, preset="paper", **options),
        ).eval()
    cost = multiply_accumulates(network, torch.empty(1, 3, side, side, device="meta"))
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.005)
    assert cost / 1e9 == pytest.approx(billions, abs=0.005)


def test_cost_of_larger_images():
    with on_meta():
        head = VWHead(B2, num_classes=19, preset="paper").eval()
    costs = [multiply_accumulates(head, pyramid(B2, 1024, w, 1, device="meta")) / 1e9 for w in (1024, 2048)]
    assert costs == pytest.approx([123.6, 273.0], abs=0.06)


# --- released weights -------------------------------------------------------------------------------------------------
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def official_shapes(channels, width, low, out, classes, *, city=False):
    """Keys and shapes of the authors' ``VWHead`` or ``VWCityHead``."""
    shapes = {"conv_seg.weight": (classes, out, 1, 1), "conv_seg.bias": (classes,)}

    def layer(name, given, out, side=1):
        shapes[f"{name}.conv.weight"] = (out, given, side, side)
        shapes.update({f"{name}.bn.{key}": () if "num" in key else (out,) for key in BATCH_NORM})

    for level, given in enumerate(channels, start=1):
        to = low if level == 1 else width
        if city:
            layer(f"linear_c{level}", given, to)
        else:
            shapes |= {f"linear_c{level}.proj.weight": (to, given), f"linear_c{level}.proj.bias": (to,)}
    layer("linear_fuse", 3 * width, width)
    layer("short_path", width, width)
    if not city:
        layer("image_pool.1", width, width)
    layer("cat", (4 if city else 5) * width, width)
    layer("low_level_fuse", width + low, out)
    for i, ratio in enumerate(RATIOS):
        layer(f"ds.{i}", width, width // ratio**2, ratio)
        if city:
            shapes |= {f"attn.{i}.in_proj_weight": (3 * width, width), f"attn.{i}.in_proj_bias": (3 * width,)}
            shapes |= {f"attn.{i}.out_proj.weight": (width, width), f"attn.{i}.out_proj.bias": (width,)}
            continue
        for part in ("theta", "phi", "g"):
            shapes |= {f"attn.{i}.{part}.conv.weight": (width, width, 1, 1), f"attn.{i}.{part}.conv.bias": (width,)}
        layer(f"attn.{i}.conv_out", width, width)
    return shapes


def random_state(shapes):
    state = {}
    for key, shape in shapes.items():
        if "num_batches" in key:
            state[key] = torch.tensor(1)
        elif "running_var" in key or key.endswith("bn.weight"):
            state[key] = torch.rand(shape) + 0.5
        else:
            state[key] = torch.randn(shape) / (math.prod(shape[1:]) if len(shape) > 1 else 4) ** 0.5
    return state


@pytest.mark.parametrize(
    ("preset", "classes", "entries", "parameters"), [("ade", 150, 94, 7_426_582), ("cityscapes", 19, 80, 6_834_115)]
)
def test_released_keys(preset, classes, entries, parameters):
    shapes = {k: torch.Size(s) for k, s in official_shapes(B2, 512, 48, 512, classes, city=preset != "ade").items()}
    with on_meta():
        head = VWHead(B2, num_classes=classes, preset=preset)
    ours = {key: value.shape for key, value in head.state_dict().items()}
    assert rename_official(shapes) == ours
    assert len(ours) == entries and parameter_count(head) == parameters
    whole = {f"decode_head.{key}": shape for key, shape in shapes.items()} | {"backbone.norm.weight": None}
    assert set(rename_official(whole)) == {*(f"decode_head.{key}" for key in ours), "backbone.norm.weight"}


# --- the equations of the paper and its code, literally ---------------------------------------------------------------
def layer(state, name, x):
    """1x1 convolution or RxR, batch norm, ReLU."""
    x = F.conv2d(x, state[f"{name}.conv.weight"])
    return F.relu(norm(state, f"{name}.bn", x))


def norm(state, name, x):
    mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias)


def attend(state, name, query, context, heads):
    """Tokens ``(T, C)`` of one window, and of its context."""
    width = query.shape[1]
    if f"{name}.in_proj_weight" in state:
        weights, biases = state[f"{name}.in_proj_weight"].chunk(3), state[f"{name}.in_proj_bias"].chunk(3)
    else:
        weights = [state[f"{name}.{p}.conv.weight"][:, :, 0, 0] for p in ("theta", "phi", "g")]
        biases = [state[f"{name}.{p}.conv.bias"] for p in ("theta", "phi", "g")]
    given = (query, context, context)
    q, k, v = (x @ weight.T + bias for x, weight, bias in zip(given, weights, biases, strict=True))
    step, out = width // heads, []
    for head in range(heads):
        part = slice(head * step, (head + 1) * step)
        out.append((q[:, part] @ k[:, part].T / step**0.5).softmax(1) @ v[:, part])
    out = torch.cat(out, dim=1)
    if f"{name}.out_proj.weight" in state:
        return out @ state[f"{name}.out_proj.weight"].T + state[f"{name}.out_proj.bias"]
    out = out @ state[f"{name}.conv_out.conv.weight"][:, :, 0, 0].T
    return norm(state, f"{name}.conv_out.bn", out)


def around(side, ratio, p):
    """Which row or column stands at each place of the padded map."""
    middle = (ratio + 1) * p // 2
    return [*range(middle, ratio * p), *range(side), *range(side - ratio * p, side - middle)]


def branch(state, i, x, heads):
    ratio, out = RATIOS[i], torch.zeros_like(x)
    ph, pw = x.shape[2] // 8, x.shape[3] // 8
    small = layer(state, f"ds.{i}", F.pad(x, [ratio // 2 - 1, ratio // 2] * 2))
    padded = small[:, :, around(x.shape[2], ratio, ph)][..., around(x.shape[3], ratio, pw)]
    for image in range(len(x)):
        for row in range(0, x.shape[2], ph):
            for column in range(0, x.shape[3], pw):
                window = padded[image, :, row : row + ratio * ph, column : column + ratio * pw]
                cells = [window[:, dy::ratio, dx::ratio] for dy in range(ratio) for dx in range(ratio)]
                here = (image, slice(None), slice(row, row + ph), slice(column, column + pw))
                tokens = attend(state, f"attn.{i}", x[here].flatten(1).T, torch.cat(cells).flatten(1).T, heads)
                out[here] = tokens.T.view(-1, ph, pw)
    return out


def reference(state, maps, *, city, heads, short_cut):
    """Logits of the authors' head with their weights."""
    projected = []
    for level, x in enumerate(maps, start=1):
        if city:
            projected.append(layer(state, f"linear_c{level}", x))
            continue
        weight, bias = state[f"linear_c{level}.proj.weight"], state[f"linear_c{level}.proj.bias"]
        projected.append(torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None])
    e1, e2, e3, e4 = projected
    how = {"mode": "nearest"} if city else {"mode": "bilinear", "align_corners": False}
    x = torch.cat([F.interpolate(e4, e2.shape[2:], **how), F.interpolate(e3, e2.shape[2:], **how), e2], 1)
    x = layer(state, "linear_fuse", x)
    branches = [layer(state, "short_path", x)]
    if "cat.conv.weight" in state and state["cat.conv.weight"].shape[1] == 5 * x.shape[1]:
        pooled = layer(state, "image_pool.1", F.adaptive_avg_pool2d(x, 1))
        branches.append(F.interpolate(pooled, x.shape[2:], mode="bilinear"))
    branches += [branch(state, i, x, heads) + (x if short_cut else 0) for i in range(3)]
    x = layer(state, "cat", torch.cat(branches, 1))
    x = F.interpolate(x, e1.shape[2:], mode="bilinear", align_corners=False)
    x = layer(state, "low_level_fuse", torch.cat([x, e1], 1))
    return F.conv2d(x, state["conv_seg.weight"], state["conv_seg.bias"])


@pytest.mark.parametrize("size", [(512, 512), (512, 1024), (640, 640), (192, 320)])
@pytest.mark.parametrize(
    ("preset", "options"), [("ade", {}), ("ade", {"heads": 2, "short_cut": False}), ("cityscapes", {})]
)
def test_logits_of_the_released_code(preset, options, size):
    city = preset == "cityscapes"
    theirs = random_state(official_shapes(SMALL, 64, 6, 10, 3, city=city))
    head = VWHead(SMALL, num_classes=3, preset=preset, width=64, low_width=6, channels=10, **options).eval()
    head.load_state_dict(rename_official(theirs))
    maps = pyramid(SMALL, *size, batch=1)
    heads = options.get("heads", 16 if city else 1)
    with torch.no_grad():
        expected = reference(theirs, maps, city=city, heads=heads, short_cut=options.get("short_cut", not city))
        found = head(maps)
    assert found.shape == (1, 3, size[0] // 4, size[1] // 4)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_two_layouts_of_attention_are_converted_into_each_other():
    options = {"num_classes": 3, "width": 64, "channels": 8, "heads": 4}
    one, other = (VWHead(SMALL, attention=kind, **options).eval() for kind in ("nonlocal", "multihead"))
    shapes = {key: value.shape for key, value in one.state_dict().items()}
    one.load_state_dict(random_state(shapes))
    maps = pyramid(SMALL, 64, 128)
    other.load_state_dict(nonlocal_to_multihead(one.state_dict()))
    expected = one(maps)
    assert torch.allclose(other(maps), expected, atol=1e-5)
    one.load_state_dict(multihead_to_nonlocal(other.state_dict()))
    assert torch.allclose(one(maps), expected, atol=1e-5)


# --- behaviour --------------------------------------------------------------------------------------------------------
def small_head(**options):
    return VWHead(SMALL, num_classes=3, **{"width": 64, "channels": 8, **options})


@pytest.mark.parametrize("preset", ["ade", "paper", "cityscapes"])
def test_any_size_and_batch_in_either_precision(preset):
    head = small_head(preset=preset).eval()
    for batch, size in ((1, (64, 64)), (3, (61, 83)), (2, (33, 200))):
        assert head(pyramid(SMALL, *size, batch)).shape == (batch, 3, -(-size[0] // 4), -(-size[1] // 4))
    maps = pyramid(SMALL, 64, 128)
    with torch.autocast("cpu", torch.bfloat16):
        half = head(maps)
    assert half.dtype == torch.bfloat16
    expected = head(maps)
    assert (half - expected).norm() < 0.02 * expected.norm()


def test_branches_start_as_the_map_itself():
    """Of the released initialisation: the norm of each branch's output has weight 0, theta SD 0.01."""
    head = VWHead(SMALL, num_classes=3, width=128)
    head.init_weights()
    head.requires_grad_(False)
    x = torch.randn(2, 128, 16, 16)
    for branch in head.decoder.branches:
        assert torch.equal(branch(x), x)
        assert branch.attention.theta.conv.weight.std() == pytest.approx(0.01, rel=0.05)
        # Kaiming, fan-out: sqrt(2 / 128).
        assert branch.attention.phi.conv.weight.std() == pytest.approx(0.125, rel=0.05)
    assert head.conv_seg.weight.std() == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("preset", ["ade", "paper", "cityscapes"])
def test_every_parameter_learns_once_the_branches_have_begun(preset):
    head = small_head(preset=preset)
    for branch in head.decoder.branches if preset == "ade" else ():
        nn.init.ones_(branch.attention.conv_out.norm.weight)
    head(pyramid(SMALL, 64, 64)).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    # A bias of all keys alike changes no softmax.
    idle = {name for name, grad in gradients.items() if not grad.any()}
    assert all("phi.conv.bias" in name for name in idle)


def test_it_is_exported_without_torchscript():
    head, maps = small_head().eval(), tuple(pyramid(SMALL, 64, 64, 1))
    exported = torch.export.export(head, (maps,)).module()
    assert torch.allclose(exported(maps), head(maps), atol=1e-6)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="preset='adde': expected 'ade', 'cityscapes', 'paper'; did you mean 'ade'"):
        small_head(preset="adde")
    with pytest.raises(ConfigError, match="projection='mlp': expected 'linear' or 'conv'"):
        small_head(projection="mlp")
    with pytest.raises(ConfigError, match=r"VWHead.in_index=\[0, 1\]: VWHead takes four maps"):
        small_head(in_index=[0, 1])
    with pytest.raises(ConfigError, match="a batch of one image cannot train it"):
        small_head()(pyramid(SMALL, 64, 64, 1))
    assert small_head(image_pool=False)(pyramid(SMALL, 64, 64, 1)).shape == (1, 3, 16, 16)
