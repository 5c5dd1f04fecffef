"""The D-Former block: attention inside units only, padding, pieces and recomputation without effect."""

import pytest
import torch
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.models.layers import chunks
from densekit.models.layers.unit_attention import DFormerBlock, UnitAttention, drop_path_rates
from densekit.ops import partition as partition_module
from densekit.ops.partition import unit_partition


def block(dilated=False, unit=(2, 4, 4), **options):
    torch.manual_seed(1)
    made = DFormerBlock(16, 2, unit, dilated=dilated, **{"drop_path": 0.0, "checkpoint": False, **options})
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def attended(attention, x):
    """Plain attention (N, tokens, C) written out, with the parameters of a UnitAttention."""
    q, k, v = (t.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for t in attention.qkv(x).chunk(3, dim=-1))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return attention.proj((weights @ v).transpose(1, 2).flatten(2))


def reference(made, x):
    """The block unit by unit, each with its real tokens only: no padding, no mask, no fused kernel."""
    partition = unit_partition(tuple(x.shape[1:4]), made.unit, dilated=made.dilated)
    index = torch.arange(1, x[0, ..., 0].numel() + 1).view(1, *x.shape[1:4], 1)
    flat, out = x.flatten(1, 3), torch.empty_like(x.flatten(1, 3))
    for members in partition.partition(index).squeeze(-1):
        members = members[members > 0] - 1
        tokens = flat[:, members]
        tokens = tokens + attended(made.attention, made.norm1(tokens))
        out[:, members] = tokens + made.mlp(made.norm2(tokens))
    return out.view_as(x)


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize("size", [(4, 8, 8), (5, 9, 6), (3, 8, 8), (1, 4, 2), (3, 3, 9)])
def test_block_equals_attention_written_out_unit_by_unit(size, dilated):
    made, x = block(dilated), torch.randn(2, *size, 16)
    torch.testing.assert_close(made(x), reference(made, x), rtol=1e-4, atol=1e-5)


def test_local_and_global_scope_are_plain_attention_when_the_unit_holds_the_map():
    local, wide = block(False, (8, 8, 8)), block(True, (8, 8, 8))
    x = torch.randn(2, 3, 5, 4, 16)
    tokens = x.flatten(1, 3)
    q, k, v = (
        t.unflatten(-1, (2, 8)).transpose(1, 2) for t in local.attention.qkv(local.norm1(tokens)).chunk(3, dim=-1)
    )
    plain = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    expected = tokens + local.attention.proj(plain)
    expected = (expected + local.mlp(local.norm2(expected))).view_as(x)
    torch.testing.assert_close(local(x), expected)
    torch.testing.assert_close(wide(x), expected)


@pytest.mark.parametrize(("dilated", "seen"), [(False, [1, 2, 3]), (True, [2, 4, 6])])
def test_local_scope_sees_a_brick_and_global_scope_every_second_column(dilated, seen):
    made, x = block(dilated), torch.randn(1, 4, 8, 8, 16)
    before = made(x)[0, 0, 0, 0]
    changing = []
    for column in range(1, 8):
        other = x.clone()
        other[:, 0, 0, column] = torch.randn(16)
        changing += [column] if not torch.allclose(made(other)[0, 0, 0, 0], before) else []
    assert changing == seen


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize("size", [(5, 9, 6), (3, 8, 8)])
def test_values_of_padded_tokens_do_not_matter(monkeypatch, size, dilated):
    made, x = block(dilated), torch.randn(1, *size, 16)
    expected = made(x)

    class Padding:
        @staticmethod
        def pad(x, amounts):
            return F.pad(x, amounts, value=37.0) * torch.where(
                F.pad(torch.ones_like(x), amounts) > 0, 1.0, torch.randn(16)
            )

    monkeypatch.setattr(partition_module, "F", Padding)
    torch.testing.assert_close(made(x), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_padding_under_autocast_gives_no_nan(dtype):
    made, x = block(True), torch.randn(1, 5, 9, 6, 16, requires_grad=True)
    with torch.autocast("cpu", dtype):
        out = made(x)
    out.float().square().mean().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(out.float(), made(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_pieces_and_recomputation_change_neither_output_nor_gradients(monkeypatch, checkpoint):
    def run(made):
        x = torch.linspace(-1, 1, 2 * 5 * 9 * 6 * 16).view(2, 5, 9, 6, 16).sin().requires_grad_()
        out = made(x)
        out.square().sum().backward()
        return [out, x.grad, *(p.grad for p in made.parameters())]

    monkeypatch.setattr("densekit.models.layers.unit_attention.frugal", lambda x: False)
    whole = run(block(True))
    monkeypatch.undo()
    monkeypatch.setattr(chunks, "_CPU_FLOATS", 5000)  # two units at a time
    for one, other in zip(whole, run(block(True, checkpoint=checkpoint)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_checkpointing_keeps_only_the_input():
    def kept(made):
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.setdefault(t.untyped_storage().data_ptr(), t) is None or t, lambda t: t
        ):
            made(torch.randn(1, 4, 8, 8, 16, requires_grad=True))
        return sum(t.numel() for t in sizes.values())

    assert kept(block(checkpoint=True)) < kept(block()) / 3


def test_drop_path_drops_whole_samples_and_only_in_training():
    made = block(True, drop_path=0.5)
    x = torch.randn(64, 2, 4, 4, 16)
    torch.testing.assert_close(made.eval()(x), block(True)(x))
    torch.manual_seed(0)
    untouched = (made.train()(x) == x).flatten(1)
    assert (untouched.all(1) == untouched.any(1)).all()
    assert 0.1 < untouched.all(1).float().mean() < 0.4  # both parts skipped: 1 in 4


def test_drop_path_rates_rise_linearly():
    assert drop_path_rates(0.2, (2, 3)) == [(0.0, 0.05), (0.1, pytest.approx(0.15), 0.2)]


def test_heads_must_divide_the_channels():
    with pytest.raises(ConfigError, match="16 channels do not divide into 3 attention heads"):
        UnitAttention(16, 3)
