"""D-Former as a whole: the published sizes and costs, shapes, and what must not change the result."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densekit.errors import ConfigError
from densekit.models.assemblies import VolumeSegmentor
from densekit.models.backbones import DFormer
from densekit.models.heads import PatchExpandingHead
from densekit.models.necks import DFormerDecoder

ACDC = {"patch": (1, 4, 4), "unit": (2, 10, 10)}


def parameters(*modules):
    return sum(p.numel() for m in modules for p in m.parameters())


def dformer(classes=14, supervision=1, skip="concat", patch=(2, 4, 4), unit=(2, 8, 8)):
    """The published network, on the meta device: shapes and counts without numbers."""
    with torch.device("meta"):
        return VolumeSegmentor(
            DFormer(patch=patch, unit=unit),
            neck=DFormerDecoder(patch=patch, unit=unit, skip=skip),
            head=PatchExpandingHead(num_classes=classes, patch=patch, deep_supervision=supervision),
        )


def gmacs(network, size):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 1, *size, device="meta"))
    return {str(op): flops / 2e9 for op, flops in counter.get_flop_counts()["Global"].items()}


def test_parameters_of_every_module():
    network = dformer(supervision=3)
    backbone, neck, head = network.backbone, network.neck, network.head
    assert parameters(backbone.embedding) == 3360
    assert [parameters(s.position) for s in backbone.stages] == [2688, 5376, 10752, 21504]
    assert [parameters(s.blocks) for s in backbone.stages] == [223680, 889728, 10646784, 14175744]
    assert [parameters(s.blocks[0]) for s in backbone.stages] == [111840, 444864, 1774464, 7087872]
    assert [parameters(m) for m in backbone.mergings] == [148992, 592896, 2365440]
    assert parameters(backbone.norm) == 1536
    assert [parameters(m) for m in neck.expansions] == [147648, 590208, 2360064]
    assert [parameters(m) for m in neck.fusions] == [18528, 73920, 295296]
    assert [parameters(s.position) for s in neck.stages] == [2688, 5376, 10752]
    assert [parameters(s.blocks) for s in neck.stages] == [223680, 889728, 10646784]
    assert parameters(neck.norm) == 192
    assert [parameters(m) for m in head.classifiers] == [296448, 1182720, 4724736]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 44_649_792),
        ({"skip": "add"}, 44_262_048),
        ({"supervision": 2}, 45_832_512),
        ({"supervision": 3}, 50_557_248),
        ({"classes": 9}, 44_649_312),
        ({"classes": 4, **ACDC}, 44_499_840),
    ],
)
def test_parameters_of_the_whole(options, count):
    assert parameters(dformer(**options)) == count


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ({"skip": "add"}, (64, 128, 128), 51.68),
        ({"supervision": 3}, (64, 128, 128), 60.42),
        ({"classes": 9}, (64, 128, 128), 52.23),
        ({"classes": 4, **ACDC}, (16, 160, 160), 38.47),
    ],
)
def test_macs_of_variants(options, size, expected):
    assert sum(gmacs(dformer(**options), size).values()) == pytest.approx(expected, abs=0.01)


def test_macs_of_the_published_network_and_their_split():
    counts = gmacs(dformer(), (64, 128, 128))
    assert sum(counts.values()) == pytest.approx(52.73, abs=0.01)
    classification = 64 * 128 * 128 * 96 * 14 / 1e9  # a linear layer here, a 1x1x1 convolution in the spec's count
    attention, convolution = counts.pop("aten.bmm"), counts.pop("aten.convolution")
    assert attention == pytest.approx(4.64, abs=0.005)
    assert convolution + classification == pytest.approx(1.73, abs=0.005)
    assert sum(counts.values()) - classification == pytest.approx(46.36, abs=0.005)


def test_shapes_of_the_synapse_crop():
    network, volume = dformer(supervision=3), torch.empty(1, 1, 64, 128, 128, device="meta")
    maps = network.backbone(volume)
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 32, 32, 32), (192, 16, 16, 16), (384, 8, 8, 8), (768, 4, 4, 4)]
    assert [tuple(m.shape[1:]) for m in network.neck(maps)] == [(96, 32, 32, 32), (192, 16, 16, 16), (384, 8, 8, 8)]
    outputs = network.train()(volume)
    assert [tuple(o.shape[1:]) for o in outputs] == [(14, 64, 128, 128), (14, 32, 64, 64), (14, 16, 32, 32)]
    assert [tuple(o.shape[1:]) for o in network.eval()(volume)] == [(14, 64, 128, 128)]


@pytest.mark.parametrize("size", [(64, 128, 128), (16, 160, 160)])
def test_published_crops_need_no_padding_anywhere(monkeypatch, size):
    def never(*args):
        raise AssertionError("padded")

    options = {} if size[0] == 64 else ACDC
    network = dformer(**options)
    monkeypatch.setattr("torch.nn.functional.pad", never)
    network(torch.empty(1, 1, *size, device="meta"))


def test_encoder_hands_on_the_stages_inputs_and_decoder_the_maps_before_fusion(small_dformer):
    network, volume = small_dformer().eval(), torch.randn(1, 1, 8, 16, 16)
    seen = {}

    def note(name):
        return lambda module, inputs, output: seen.update({name: (inputs[0], output)})

    for name, module in (
        ("stage0", network.backbone.stages[0]),
        ("stage1", network.backbone.stages[1]),
        ("bottleneck", network.backbone.norm),
        ("arriving", network.neck.expansions[1]),
        ("end", network.neck.norm),
    ):
        module.register_forward_hook(note(name))
    maps = [m.permute(0, 2, 3, 4, 1) for m in network.backbone(volume)]
    assert torch.equal(maps[0], seen["stage0"][0])
    assert torch.equal(maps[1], seen["stage1"][0])
    assert torch.equal(maps[2], seen["bottleneck"][1])
    decoded = [m.permute(0, 2, 3, 4, 1) for m in network.neck(network.backbone(volume))]
    assert torch.equal(decoded[0], seen["end"][1])
    assert torch.equal(decoded[1], seen["arriving"][1])


def test_result_does_not_depend_on_sizes_seen_before(small_dformer):
    network, volume = small_dformer().eval(), torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        before = network.predict_logits(volume)
        network.predict_logits(torch.randn(1, 1, 4, 8, 8))  # its maps are smaller than the unit
        assert torch.equal(network.predict_logits(volume), before)


@pytest.mark.parametrize("size", [(7, 17, 15), (1, 5, 40), (8, 16, 16)])
def test_any_input_size_gives_logits_of_that_size(small_dformer, size):
    network = small_dformer()
    outputs = network.train()(torch.randn(2, 1, *size))
    half = tuple(-(-s // 2) for s in size)
    assert [tuple(o.shape) for o in outputs] == [(2, 3, *size), (2, 3, *half)]
    sum(o.square().mean() for o in outputs).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_an_odd_size_is_padded_with_zeros_at_its_end(small_dformer):
    network, volume = small_dformer().eval(), torch.randn(1, 1, 7, 15, 13)
    padded = nn.functional.pad(volume, (0, 3, 0, 1, 0, 1))
    with torch.no_grad():
        expected = network.predict_logits(padded)[:, :, :7, :15, :13]
        torch.testing.assert_close(network.predict_logits(volume), expected)


def test_checkpointing_gives_the_same_outputs_and_gradients(small_dformer):
    kept, volume = small_dformer(), torch.randn(1, 1, 8, 16, 12)
    saved = small_dformer(checkpoint=True)
    saved.load_state_dict(kept.state_dict())
    for network in (kept, saved):
        sum(o.square().mean() for o in network.train()(volume)).backward()
    for one, other in zip(kept.parameters(), saved.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_head_in_pieces_equals_head_in_one_piece(monkeypatch):
    whole = PatchExpandingHead((8,), 3, patch=(1, 2, 2), deep_supervision=1)
    pieces, maps = copy.deepcopy(whole), [torch.randn(2, 8, 3, 5, 4)]
    expected = whole(maps, size=(3, 10, 7))[0]
    monkeypatch.setattr("densekit.models.layers.chunks._CPU_FLOATS", 10 * 4 * 8)
    found = pieces(maps, size=(3, 10, 7))[0]
    torch.testing.assert_close(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    gradients = [net.classifiers[0].expand.weight.grad for net in (pieces, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)  # sums in another order


def test_head_puts_every_voxel_where_its_patch_is():
    """Logits of one token, moved through the head, stay in that token's patch, W fastest inside it."""
    head = PatchExpandingHead((4,), 2, patch=(2, 3, 1), deep_supervision=1).eval()
    tokens = torch.zeros(1, 4, 2, 2, 2)
    tokens[0, :, 1, 0, 1] = torch.randn(4)
    logits = head([tokens], size=(4, 6, 2))[0]
    classifier = head.classifiers[0]
    expected = classifier.classify(classifier.norm(classifier.expand(tokens[0, :, 1, 0, 1]).view(2, 3, 1, 4)))
    torch.testing.assert_close(logits[0, :, 2:4, 0:3, 1:2], expected.permute(3, 0, 1, 2))
    rest = logits.clone()
    rest[0, :, 2:4, 0:3, 1:2] = 0
    assert (rest == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(small_dformer, dtype):
    network, volume = small_dformer().eval(), torch.randn(1, 1, 7, 16, 13)
    exact = network.predict_logits(volume)
    with torch.autocast("cpu", dtype):
        logits = network.predict_logits(volume)
    logits.float().square().mean().backward()
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(p.grad).all() for p in network.head.parameters() if p.grad is not None)


def test_channels_last_changes_nothing(small_dformer):
    network, volume = small_dformer().eval(), torch.randn(1, 1, 8, 16, 16)
    expected = network.predict_logits(volume)
    network = network.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network.predict_logits(volume), expected)


@pytest.mark.slow
def test_compile_in_one_graph(small_dformer):
    network, volume = small_dformer(supervision=1), torch.randn(1, 1, 8, 16, 16)
    expected = network(volume)[0]
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    found = compiled(volume)[0]
    torch.testing.assert_close(found, expected)
    found.square().mean().backward()


def test_initialisation_is_the_papers_or_pytorchs():
    torch.manual_seed(3)
    paper, plain = DFormer(), DFormer(init="pytorch")
    weight = paper.stages[2].blocks[0].mlp[0].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert (paper.stages[2].blocks[0].mlp[0].bias == 0).all()
    assert paper.embedding.proj.weight.std() > 0.05  # convolutions keep PyTorch's default: uniform, +-1/sqrt(32)
    assert plain.stages[2].blocks[0].mlp[0].bias.abs().max() > 0
    head = PatchExpandingHead((96,), 14, deep_supervision=1).classifiers[0]
    assert head.expand.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert head.classify.weight.abs().max().item() == pytest.approx(96**-0.5, rel=0.05)


def test_a_tiny_dformer_learns_a_volume_by_heart(small_dformer):
    network = small_dformer()
    volume = torch.randn(1, 1, 4, 16, 16)
    label = (volume[:, 0] > 0).long() + (volume[:, 0] > 1).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = sum(network(volume, {"label": label}, mode="loss").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DFormer(widths=(8, 16), depths=(2, 2, 2), heads=(1, 2)), "widths has 2, depths has 3, heads has 2"),
        (lambda: DFormer(patch=(2, 4)), r"patch=\(2, 4\): expected three positive whole numbers"),
        (lambda: DFormer(unit=(2, 0, 8)), "unit=.*three positive whole numbers"),
        (lambda: DFormer(heads=(5, 6, 12, 24)), "96 channels do not divide into 5 attention heads"),
        (lambda: DFormer(init="trunc_norm"), "did you mean 'trunc_normal'"),
        (lambda: DFormer(drop_path=1.0), "drop_path=1.0: expected a probability"),
        (lambda: DFormerDecoder(skip="cat"), "expected 'concat' or 'add'"),
        (lambda: DFormerDecoder((8, 16, 32), depths=(2, 2, 2), heads=(1, 2)), "all need one value per stage"),
        (lambda: PatchExpandingHead((8, 16), 3, deep_supervision=3), r"deep_supervision=3: expected 1 \(none\) to 2"),
        (lambda: PatchExpandingHead((8, 16), 1), "at least 2, background included"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
