"""SEPC against the authors' module, by deterministic values, and what its paper promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densekit.errors import ConfigError
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.necks.sepc import SEPC, SEPCConv, integrated_norm, rename_official

VARIANTS = {
    "pconv": {"ibn": False, "pconv_deform": False, "lcconv_deform": False},
    "ibn": {"ibn": True, "pconv_deform": False, "lcconv_deform": False},
    "lite": {"ibn": True, "pconv_deform": False, "lcconv_deform": True},
    "full": {"ibn": True, "pconv_deform": True, "lcconv_deform": True},
}
P3, P4, P5, P6, P7 = range(5)
# Of the official module: variant, padding -> (cls, loc) per level, as mean/rms/projection.
PARITY = {
    ("pconv", 0): {
        P3: (".310947/.545319/−.02084", ".342861/.590843/−.04716"),
        P7: (".239175/.421665/−.17320", ".257380/.432158/−.12855"),
    },
    ("pconv", 1): {
        P3: (".301720/.532292/−.02354", ".331835/.575973/−.01760"),
        P7: (".187620/.337529/.03800", ".202314/.350438/.02635"),
    },
    ("ibn", 0): {
        P3: (".233127/.416608/.02839", ".247029/.437972/.12342"),
        P7: (".163764/.309975/.07786", ".177812/.314736/−.06757"),
    },
    ("ibn", 1): {
        P3: (".226752/.407263/.19579", ".240052/.427980/.02168"),
        P7: (".142867/.260965/−.00208", ".150619/.268429/.01666"),
    },
    ("lite", 0): {
        P3: (".205504/.383135/−.09269", ".238779/.418704/.02472"),
        P4: (".258676/.483791/.02497", ".298290/.517790/.30738"),
        P5: (".260632/.477963/−.11930", ".301560/.535845/.05862"),
        P6: (".223966/.404723/−.15121", ".235994/.430215/−.03054"),
        P7: (".145908/.252845/−.00857", ".138964/.258302/−.15099"),
    },
    ("lite", 1): {
        P3: (".200139/.374722/−.01939", ".232028/.409204/.01719"),
        P7: (".121170/.213366/.10347", ".120356/.220257/.05487"),
    },
    ("full", 0): {
        P3: (".155202/.273201/.05058", ".136696/.251060/.09053"),
        P4: (".183346/.329150/−.08281", ".165296/.312243/−.06126"),
        P5: (".175445/.312241/−.09662", ".167147/.312010/−.05675"),
        P6: (".139578/.248476/−.03057", ".140471/.260928/.08036"),
        P7: (".091641/.153715/−.03567", ".082063/.154320/.05667"),
    },
    ("full", 1): {
        P3: (".151227/.267354/.09159", ".133146/.245692/.04297"),
        P7: (".076035/.133360/−.00196", ".066637/.127374/.01922"),
    },
}
COST = {  # parameters, billions of multiply-accumulates at 800x1344
    "pconv": (8_261_120, 105.70),
    "ibn": (8_264_192, 105.70),
    "lite": (8_347_172, 106.16),
    "full": (8_845_052, 108.25),
}


def official_shapes(variant):
    """Keys and shapes of the authors' state dict, without step counters."""
    options, shapes = VARIANTS[variant], {}

    def conv(key, deform):
        shapes[f"{key}.weight"], shapes[f"{key}.bias"] = (256, 256, 3, 3), (256,)
        if deform:
            shapes[f"{key}.conv_offset.weight"], shapes[f"{key}.conv_offset.bias"] = (18, 256, 3, 3), (18,)

    def norm(key):
        if options["ibn"]:
            shapes.update({f"{key}.{n}": (256,) for n in ("weight", "bias", "running_mean", "running_var")})

    for i in range(4):
        for j in range(3):
            conv(f"Pconvs.{i}.Pconv.{j}", options["pconv_deform"])
        norm(f"Pconvs.{i}.bn")
    for task in "cl":
        conv(f"{task}conv", options["lcconv_deform"])
        norm(f"{task}bn")
    return shapes


def filled(variant, fill, **options):
    neck = SEPC(**VARIANTS[variant], **options)
    neck.load_state_dict(rename_official(fill.state(official_shapes(variant))), strict=False)
    return neck.eval()


def pyramid(sizes=((48, 64), (24, 32), (12, 16), (6, 8), (3, 4)), channels=256, device="cpu"):
    return [torch.randn(2, channels, *size, device=device) for size in sizes]


def small(**options):
    """A narrow one whose weights are large enough to tell outputs apart."""
    neck = SEPC(8, 8, num_pconvs=2, **options)
    for name, parameter in neck.named_parameters():
        if parameter.ndim > 1 and "offset" not in name:
            nn.init.normal_(parameter, std=0.2)
    return neck


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_official_state_dict_fits(variant):
    state = SEPC(**VARIANTS[variant]).state_dict()
    own = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
    shapes = official_shapes(variant)
    assert rename_official(shapes) == own
    with_and_without_counters = {"pconv": (28, 28), "ibn": (58, 52), "lite": (62, 56), "full": (86, 80)}
    assert (len(state), len(shapes)) == with_and_without_counters[variant]
    assert set(rename_official({f"neck.1.{key}": None for key in shapes})) == {f"neck.1.{key}" for key in own}


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_of_the_official_module(variant, fill, device):
    inputs = [fill.input(j, (2, 256, 48 >> j, 64 >> j)).to(device) for j in range(5)]
    neck = filled(variant, fill).to(device)
    for padding in (0, 1):
        for conv in (neck.cls_conv, neck.loc_conv):
            for layer in (conv, conv.conv_offset) if conv.conv_offset else (conv,):
                layer.padding = (padding, padding)
        with torch.no_grad():
            levels = neck(inputs)
        for level, expected in PARITY[variant, padding].items():
            for task, (x, values) in enumerate(zip(levels[level], expected, strict=True)):
                fill.check(x, (500, 600)[task] + level, values)


def test_padding_is_an_argument(fill):
    neck = filled("lite", fill, lcconv_padding=0)
    with torch.no_grad():
        levels = neck([fill.input(j, (2, 256, 48 >> j, 64 >> j)) for j in range(5)])
    assert [tuple(cls.shape[2:]) for cls, _ in levels] == [(46, 62), (22, 30), (10, 14), (4, 6), (1, 2)]
    for level, expected in PARITY["lite", 0].items():
        fill.check(levels[level][0], 500 + level, expected[0])


def test_training_statistics_of_the_official_module(fill):
    neck = filled("ibn", fill, lcconv_padding=0).train()
    with torch.no_grad():
        levels = neck([fill.input(j, (2, 256, 48 >> j, 64 >> j)) for j in range(5)])
    for norm, mean, variance in (
        (neck.pconvs[0].bn, 0.003837, 1.068109),
        (neck.pconvs[3].bn, 0.010304, 1.092532),
        (neck.cls_bn, -0.000793, 1.045125),
        (neck.loc_bn, 0.001981, 1.048031),
    ):
        assert norm.running_mean.mean().item() == pytest.approx(mean, abs=2e-5)
        assert norm.running_var.mean().item() == pytest.approx(variance, abs=2e-5)
    means = [levels[level][task].mean().item() for task in (0, 1) for level in (P3, P7)]
    assert means == pytest.approx([0.348167, 0.549082, 0.351411, 0.545109], abs=2e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cost_of_the_paper(variant):
    parameters, billions = COST[variant]
    with torch.device("meta"):
        neck = SEPC(**VARIANTS[variant]).eval()
    levels = [torch.empty(1, 256, h, w, device="meta") for h, w in ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))]
    assert parameter_count(neck) == parameters
    assert multiply_accumulates(neck, levels) / 1e9 == pytest.approx(billions, abs=0.005)


def test_with_offsets_of_zero_the_full_form_is_the_plain_one():
    full, plain = small(), small(pconv_deform=False, lcconv_deform=False)
    plain.load_state_dict({k: v for k, v in full.state_dict().items() if "offset" not in k})
    maps = pyramid(channels=8)
    for mode in (True, False):
        for ours, theirs in zip(full.train(mode)(maps), plain.train(mode)(maps), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_offsets_of_the_last_convolutions_leave_the_finest_level_alone():
    neck, maps = small().eval(), pyramid(channels=8)
    with torch.no_grad():
        before = neck(maps)
        last = [*neck.pconvs[-1].convs, neck.cls_conv, neck.loc_conv]
        for conv in last:
            nn.init.normal_(conv.conv_offset.weight, std=0.3)
        after = neck(maps)
    for task in (0, 1):
        assert torch.equal(before[P3][task], after[P3][task])
        assert not torch.allclose(before[P4][task], after[P4][task])


def test_gradients_reach_everything_offsets_too():
    neck = small()
    sum(x.square().mean() for pair in neck(pyramid(channels=8)) for x in pair).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in neck.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in neck.named_parameters() if "conv_offset.weight" in name)


def test_integrated_norm_in_training_is_that_of_the_levels_side_by_side():
    ours, reference = nn.BatchNorm2d(8), nn.BatchNorm1d(8)
    maps = [3 * x + 1 for x in pyramid(channels=8)]
    found = integrated_norm(ours, maps)
    expected = reference(torch.cat([x.flatten(2) for x in maps], 2))
    torch.testing.assert_close(torch.cat([x.flatten(2) for x in found], 2), expected)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    assert [x.shape for x in found] == [x.shape for x in maps]


def test_integrated_norm_in_use_is_that_of_each_level():
    norm, maps = nn.BatchNorm2d(8), pyramid(channels=8)
    integrated_norm(norm, maps)
    norm.eval()
    for x, found in zip(maps, integrated_norm(norm, maps), strict=True):
        assert torch.equal(norm(x), found)


def deform_directly(x, offset, weight, bias, stride, padding):
    """Deformable convolution by its definition: one bilinear look-up after another."""
    _, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    out = torch.zeros(1, weight.shape[0], rows, columns)
    for row in range(rows):
        for column in range(columns):
            taps = torch.zeros(channels, 9)
            for tap in range(9):
                dy, dx = offset[0, 2 * tap, row, column], offset[0, 2 * tap + 1, row, column]
                y = row * stride - padding + tap // 3 + dy
                z = column * stride - padding + tap % 3 + dx
                for i in (int(y.floor()), int(y.floor()) + 1):
                    for j in (int(z.floor()), int(z.floor()) + 1):
                        if 0 <= i < height and 0 <= j < width:
                            taps[:, tap] += (1 - abs(y - i)) * (1 - abs(z - j)) * x[0, :, i, j]
            out[0, :, row, column] = weight.flatten(1) @ taps.flatten() + bias
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 5), (4, 2)])
def test_maps_smaller_than_the_kernel(size, stride):
    conv = SEPCConv(3, 2, stride=stride, deform=True)
    for parameter in conv.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = deform_directly(x, conv.conv_offset(x), conv.weight, conv.bias, stride, 1)
        torch.testing.assert_close(conv(x, level=1), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(conv(x, level=0), F.conv2d(x, conv.weight, conv.bias, stride, 1))


@pytest.mark.parametrize("side", [64, 100, 128, 200, 256])
def test_small_images(side):
    sizes = [(-(-side // 2**i),) * 2 for i in range(3, 8)]
    levels = small()(pyramid(sizes, channels=8))
    assert [tuple(cls.shape[2:]) for cls, _ in levels] == sizes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    neck, maps = small().eval(), pyramid(channels=8)
    for conv in (m for m in neck.modules() if isinstance(m, SEPCConv)):
        nn.init.normal_(conv.conv_offset.weight, std=0.05)
    exact = neck(maps)
    with torch.autocast("cpu", dtype):
        rough = neck(maps)
    for a, b in zip(exact, rough, strict=True):
        torch.testing.assert_close(b[0].float(), a[0], atol=0.1, rtol=0.1)
    sum(x.float().sum() for pair in rough for x in pair).backward()


def test_without_convolutions_per_task_there_is_one_map_per_level():
    neck = small(with_lc_convs=False, ibn=False, pconv_deform=False)
    assert [x.shape for x in neck(pyramid(channels=8))] == [x.shape for x in pyramid(channels=8)]
    assert not any("cls" in name or "loc" in name for name, _ in neck.named_parameters())


def test_channels_and_levels_are_free():
    neck = SEPC(6, 4, num_levels=3, num_pconvs=3)
    levels = neck(pyramid([(9, 7), (5, 4), (3, 2)], channels=6))
    assert [tuple(cls.shape[1:]) for cls, _ in levels] == [(4, 9, 7), (4, 5, 4), (4, 3, 2)]


def test_pyramids_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"level 1 is \(4, 4\), but level 0 is \(10, 8\).*here \(5, 4\)"):
        small(num_levels=2)(pyramid([(10, 8), (4, 4)], channels=8))
    with pytest.raises(ConfigError, match=r"got 2 levels and is set to take 5; set num_levels=2"):
        small()(pyramid([(10, 8), (5, 4)], channels=8))
    with pytest.raises(ConfigError, match=r"coarsest level is \(2, 4\) and lcconv_padding=0"):
        small(num_levels=2, lcconv_padding=0)(pyramid([(4, 8), (2, 4)], channels=8))


def test_a_norm_without_batch_statistics_is_refused():
    with pytest.raises(ConfigError, match=r"SEPC.norm_cfg.*GroupNorm.*SyncBN"):
        SEPC(32, 32, norm_cfg={"type": "GN", "num_groups": 32})
