"""RCNet's neck against the authors' module, by deterministic values, and what its paper promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densekit.errors import ConfigError
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.necks.rcnet import CSN, RCFPN, align, gate, rename_official, shift

R50 = (256, 512, 1024, 2048)
PARITY = {
    "RCFPN": [
        ".090577/.297832/.00424",
        "−.012254/.242032/.03224",
        ".010499/.236366/−.00380",
        ".021910/.225826/.01949",
        ".024874/.286548/.07260",
    ],
    "RevFP": [
        ".015115/.123097/.01125",
        "−.005229/.090773/.01472",
        ".002730/.082793/.02046",
        ".004228/.085675/.02074",
        "−.006037/.117208/.01734",
    ],
    "CSN": [
        ".587106/1.027360/−.46812",
        "−.009982/1.237879/−.25119",
        ".181341/1.017720/.15624",
        ".334469/1.054324/−.42781",
        ".429805/1.099322/.35413",
    ],
    "odd": [
        ".122646/.314322/−.20670",
        "−.012282/.241980/.12933",
        ".012301/.238070/.13619",
        ".023309/.226708/.00930",
        ".025643/.290560/.04437",
    ],
}


def official_shapes():
    """Keys and shapes of the authors' state dict, without step counters."""
    shapes = {}

    def norm(key):
        shapes.update({f"{key}.bn.{n}": (256,) for n in ("weight", "bias", "running_mean", "running_var")})

    def conv(key, *shape):
        shapes[f"{key}.weight"], shapes[f"{key}.bias"] = shape, shape[:1]

    for i, channels in enumerate(R50[1:]):
        shapes[f"lateral_convs.{i}.conv.weight"] = (256, channels, 1, 1)
        norm(f"lateral_convs.{i}")
    for i in range(2):
        shapes[f"extra_downsamples.{i}.0.conv.weight"] = (256, 256, 1, 1)
        norm(f"extra_downsamples.{i}.0")
    for level in range(3, 8):
        node = f"RevFP.p{level}"
        conv(f"{node}.weight.0", 1, 512, 1, 1)
        if level < 7:
            shapes[f"{node}.temp"] = (1,)
            conv(f"{node}.spatial_weight", 1, 512, 3, 3)
        if 3 < level < 7:
            conv(f"{node}.weight.1", 1, 512, 1, 1)
        for fusion in ("pre", "post") if 3 < level < 7 else ("post",):
            shapes[f"{node}.{fusion}_fusion.conv.weight"] = (256, 256, 3, 3)
            conv(f"{node}.{fusion}_fusion.conv.conv_offset", 54, 256, 3, 3)
            norm(f"{node}.{fusion}_fusion")
    for context in ("scale", "spatial"):
        conv(f"CSN.{context}Context.channel_agg", 1, 256, 1, 1)
        conv(f"CSN.{context}Context.trans", 256, 256, 1, 1)
    for level in range(5):
        shapes[f"CSN.msm.aggregation.{level}.0.conv.weight"] = (256, 320, 1, 1)
        norm(f"CSN.msm.aggregation.{level}.0")
        conv(f"CSN.msm.aggregation.{level}.1", 256, 256, 1, 1)
    return shapes


@pytest.fixture(scope="module")
def official(fill):
    neck = RCFPN(R50, start_level=1)
    neck.load_state_dict(rename_official(fill.state(official_shapes())), strict=False)
    return neck.eval()


def check_levels(levels, seed, fill, expected):
    for level, (x, values) in enumerate(zip(levels, expected, strict=True)):
        fill.check(x, seed + level, values)


def even(fill, device="cpu"):
    return [fill.input(10 + i, (2, c, 96 >> i, 128 >> i)).to(device) for i, c in enumerate(R50)]


def maps(sizes=((24, 32), (12, 16), (6, 8), (3, 4), (2, 2)), channels=32):
    return [torch.randn(2, channels, *size) for size in sizes]


def small(**options):
    return RCFPN((4, 8, 16, 32), 32, **{"start_level": 1, **options})


def test_the_official_state_dict_fits():
    own = {k: tuple(v.shape) for k, v in RCFPN(R50, start_level=1).state_dict().items() if "num_batches" not in k}
    shapes = official_shapes()
    assert len(shapes) == 152
    assert rename_official(shapes) == own


def test_values_of_the_official_module(official, fill, device):
    with torch.no_grad():
        check_levels(official.to(device)(even(fill, device)), 700, fill, PARITY["RCFPN"])
    official.cpu()


def test_values_of_the_reverse_pyramid_alone(official, fill):
    neck = RCFPN(R50, start_level=1, with_csn=False).eval()
    neck.load_state_dict({k: v for k, v in official.state_dict().items() if not k.startswith("csn")})
    with torch.no_grad():
        check_levels(neck(even(fill)), 700, fill, PARITY["RevFP"])


def test_values_of_the_shift_network_alone(official, fill):
    levels = [fill.input(j, (2, 256, 48 >> j, 64 >> j)) for j in range(5)]
    with torch.no_grad():
        check_levels(official.csn(levels), 700, fill, PARITY["CSN"])


def test_values_at_odd_sizes(official, fill):
    sizes = ((98, 134), (49, 67), (25, 34), (13, 17))
    inputs = [fill.input(20 + i, (1, c, *size)) for i, (c, size) in enumerate(zip(R50, sizes, strict=True))]
    with torch.no_grad():
        levels = official(inputs)
    assert [tuple(x.shape[2:]) for x in levels] == [(49, 67), (25, 34), (13, 17), (7, 9), (4, 5)]
    check_levels(levels, 800, fill, PARITY["odd"])


def test_cost_of_the_paper():
    with torch.device("meta"):
        neck = RCFPN(R50, start_level=1).eval()
    inputs = [torch.empty(1, c, 200 >> i, 336 >> i, device="meta") for i, c in enumerate(R50)]
    parts = [parameter_count(part) for part in (neck.lateral_convs, neck.extra_convs, neck.revfp, neck.csn)]
    assert parts == [919_040, 132_096, 5_740_992, 873_218]
    assert parameter_count(neck) == 7_665_346
    assert multiply_accumulates(neck, inputs) / 1e9 == pytest.approx(27.09, abs=0.005)


def test_at_the_start_both_sides_of_a_gate_count_the_same_and_so_do_all_positions():
    neck = small()
    x, up = torch.randn(2, 32, 6, 8), torch.randn(2, 32, 6, 8)
    for node in neck.revfp.nodes:
        for conv in (node.gate_coarser, node.gate_below):
            if conv is not None:
                assert torch.equal(gate(conv, x, up), torch.full((2, 1, 1, 1), 0.5))
        if node.gate_coarser is not None:
            torch.testing.assert_close(node.attend(x, up), torch.ones(2, 1, 6, 8))


def test_attention_has_mean_one_and_follows_the_temperature():
    node = small().revfp.nodes[1]
    nn.init.normal_(node.attention.weight, std=1.0)
    x, up = torch.randn(2, 32, 6, 8), torch.randn(2, 32, 6, 8)
    calm = node.attend(x, up)
    torch.testing.assert_close(calm.mean((2, 3)), torch.ones(2, 1))
    node.temperature.data *= 10
    assert node.attend(x, up).max() > calm.max()


@pytest.mark.parametrize("mode", ["circular", "zero"])
def test_channel_groups_arrive_from_the_stated_level(mode):
    levels = torch.arange(1.0, 6).view(1, 5, 1, 1, 1).expand(1, 5, 64, 2, 2)  # every value says its level, from 1
    shifted = shift(levels, 4, mode)
    assert shifted.shape == (1, 5, 16 + 64, 2, 2)
    for level in range(5):
        for group, distance in enumerate((1, -1, 2, -2)):
            source = level + distance
            wanted = source % 5 + 1 if mode == "circular" or 0 <= source < 5 else 0
            assert (shifted[0, level, 4 * group : 4 * group + 4] == wanted).all(), (level, group)
        assert (shifted[0, level, 16:] == level + 1).all()


def test_shift_network_that_has_learnt_nothing_adds_the_aligned_maps():
    network, levels = CSN(32, norm_cfg={"type": "BN"}).eval(), maps()
    for conv in [branch[1] for branch in network.aggregation] + [
        network.scale_context.transform,
        network.spatial_context.transform,
    ]:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    aligned = align(levels)
    assert aligned.shape == (2, 5, 32, 12, 16)
    torch.testing.assert_close(aligned[:, 0], F.max_pool2d(levels[0], 2))
    outputs = network(levels)
    finest = F.interpolate(aligned[:, 0], (24, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(outputs[0], levels[0] + finest)
    torch.testing.assert_close(outputs[1], 2 * levels[1])
    for level in (2, 3, 4):
        back = F.adaptive_max_pool2d(aligned[:, level], levels[level].shape[2:])
        torch.testing.assert_close(outputs[level], levels[level] + back)


@pytest.mark.parametrize("options", [{}, {"with_csn": False}, {"with_revfp": False}, {"shift_mode": "zero"}])
@pytest.mark.parametrize("norm", [{"type": "BN"}, {"type": "GN", "num_groups": 32}])
def test_gradients_reach_everything(options, norm):
    neck = small(norm_cfg=norm, **options)
    inputs = [
        torch.randn(2, c, *size) for c, size in zip((4, 8, 16, 32), ((48, 66), (24, 33), (12, 17), (6, 9)), strict=True)
    ]
    levels = neck(inputs)
    assert [tuple(x.shape[2:]) for x in levels] == [(24, 33), (12, 17), (6, 9), (3, 5), (2, 3)]
    sum(x.square().mean() for x in levels).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in neck.parameters())


def test_two_stage_form_pools_its_last_level():
    neck = small(start_level=0, extra_convs=False)
    inputs = [
        torch.randn(1, c, *size) for c, size in zip((4, 8, 16, 32), ((32, 44), (16, 22), (8, 11), (4, 6)), strict=True)
    ]
    assert [tuple(x.shape[2:]) for x in neck(inputs)] == [(32, 44), (16, 22), (8, 11), (4, 6), (2, 3)]
    assert not list(neck.extra_convs.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    neck = small().eval()
    inputs = [torch.randn(2, c, 64 >> i, 96 >> i) for i, c in enumerate((4, 8, 16, 32))]
    exact = neck(inputs)
    with torch.autocast("cpu", dtype):
        rough = neck(inputs)
    for a, b in zip(exact, rough, strict=True):
        torch.testing.assert_close(b.float(), a, atol=0.1, rtol=0.1)


def test_an_argument_of_fpn_that_changes_nothing_is_said_to(caplog):
    neck = small(add_extra_convs="on_input")
    assert "add_extra_convs='on_input' changes nothing" in caplog.text
    assert neck.state_dict().keys() == small().state_dict().keys()


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"num_outs=6; it makes exactly 5 levels"):
        small(num_outs=6)
    with pytest.raises(
        ConfigError, match=r"shift_mode='circle': expected 'circular' or 'zero'; did you mean 'circular'"
    ):
        small(shift_mode="circle")
    with pytest.raises(ConfigError, match=r"got 2 maps, in_channels=\(4, 8, 16, 32\) is for 4"):
        small()(maps()[:2])
