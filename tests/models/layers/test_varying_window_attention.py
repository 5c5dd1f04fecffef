"""Varying window attention: what windows see, in which order, and what it costs."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from densekit.errors import ConfigError
from densekit.models.cost import multiply_accumulates
from densekit.models.layers.varying_window_attention import (
    VaryingWindowAttention,
    context_windows,
    copy_shift_pad,
    cut_windows,
    join_windows,
    space_to_depth,
)

SIZES = [(4, 4), (8, 8), (16, 16), (4, 8), (16, 4)]


def positions(height, width):
    return torch.arange(height * width).view(1, 1, height, width)


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("size", SIZES)
def test_a_window_sees_its_context_shifted_until_it_lies_inside_the_map(ratio, size):
    grid = (8, random.choice([8, 9, 12]))
    height, width = (n * p for n, p in zip(grid, size, strict=True))
    of_map = positions(height, width)
    seen = context_windows(of_map, ratio, size).flatten(1).sort().values

    def span(index, p, side):
        start = min(max(index * p - (ratio - 1) * p // 2, 0), side - ratio * p)
        return slice(start, start + ratio * p)

    for window, found in enumerate(seen):
        row, column = divmod(window, grid[1])
        expected = of_map[0, 0, span(row, size[0], height), span(column, size[1], width)]
        assert torch.equal(found, expected.flatten())


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (5, 2)])
def test_odd_windows_have_as_many_contexts_as_there_are_windows(ratio, size):
    windows = context_windows(torch.randn(2, 3, 8 * size[0], 9 * size[1]), ratio, size)
    assert windows.shape == (2 * 72, 3 * ratio**2, *size)


def test_strips_are_those_beyond_the_opposite_side():
    x = torch.arange(8).view(1, 1, 1, 8).repeat(1, 1, 8, 1)
    # Windows of two, R = 2: from (R + 1) p / 2 = 3 on to R p = 4, and from W - 4 on to W - 3.
    assert copy_shift_pad(x, 2, (2, 2))[0, 0].tolist() == [[3, *range(8), 4]] * 10
    assert copy_shift_pad(x.mT, 2, (2, 2))[0, 0].mT.tolist() == [[3, *range(8), 4]] * 10


def test_a_map_smaller_than_the_context_is_filled_up_with_zeros():
    x = torch.arange(1, 5).view(1, 1, 1, 4).repeat(1, 1, 8, 1)
    # R p = 8 of 4 columns: two zeros at each side, strips of [5, 8) and [0, 3) of 0 0 1 2 3 4 0 0.
    assert copy_shift_pad(x, 4, (2, 2))[0, 0, 3].tolist() == [4, 0, 0, 1, 2, 3, 4, 0, 0, 1]


def test_cells_go_to_the_channels_by_row_column_and_channel():
    ratio, channels = 4, 3
    of_channel, of_row, of_column = torch.meshgrid(*(torch.arange(n) for n in (channels, 8, 12)), indexing="ij")
    out = space_to_depth((10_000 * of_channel + 100 * of_row + of_column)[None], ratio)[0]
    assert out.shape == (48, 2, 3)
    for dy in range(ratio):
        for dx in range(ratio):
            for c in range(channels):
                for y in range(2):
                    for x in range(3):
                        found = out[(dy * ratio + dx) * channels + c, y, x]
                        assert found == 10_000 * c + 100 * (y * ratio + dy) + x * ratio + dx


def test_windows_are_put_back_where_they_were_cut():
    x = torch.randn(2, 3, 6, 20)
    windows = cut_windows(x, (2, 5))
    assert torch.equal(windows[5], x[0, :, 2:4, 5:10])
    assert torch.equal(join_windows(windows, (3, 4)), x)


@pytest.mark.parametrize("short_cut", [False, True])
def test_non_local_attention_starts_as_nothing(short_cut):
    layer = VaryingWindowAttention(16, 4, attention="nonlocal", heads=1, short_cut=short_cut)
    x = torch.randn(2, 16, 16, 24)
    for part in (layer.eval(), layer.train()):
        assert torch.equal(part(x), x if short_cut else torch.zeros_like(x))


@pytest.mark.parametrize("attention", ["nonlocal", "multihead"])
def test_the_same_map_as_one_grid_or_as_windows(attention):
    torch.manual_seed(0)
    one = VaryingWindowAttention(16, 4, attention=attention, heads=4, grid=(8, 6)).eval()
    other = VaryingWindowAttention(16, 4, attention=attention, heads=4, window=3).eval()
    for parameter in one.parameters():
        nn.init.normal_(parameter, std=0.3)
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 16, 24, 18)
    assert torch.equal(one(x), other(x))
    # Smaller than the context of a window of three: windows of two, and no zeros in their context.
    one.grid, small = (4, 4), torch.randn(1, 16, 8, 8)
    assert torch.equal(one(small), other(small))


@pytest.mark.parametrize("options", [{}, {"window": 8}])
def test_any_size(options):
    layer = VaryingWindowAttention(64, 8, short_cut=True, **options).eval()
    for size in ((1, 1), (5, 9), (17, 64), (66, 30)):
        x = torch.randn(1, 64, *size)
        assert layer(x).shape == x.shape
    # What does not fit is filled up with copies of the last row and column.
    padded = F.pad(x, (0, 2, 0, 6), mode="replicate")
    if not options:
        assert torch.allclose(layer(x), layer(padded)[..., :66, :30], atol=1e-6)


def test_windows_of_one_size_cost_as_much_per_pixel_on_every_map():
    def per_pixel(side, **options):
        with torch.device("meta"):
            layer = VaryingWindowAttention(64, 8, **options).eval()
            return multiply_accumulates(layer, torch.empty(1, 64, side, side)) / side**2

    # Projections 4 C^2, attention 2 T C with T tokens to a window, scaling C^2 (spec: table of costs).
    assert per_pixel(64, window=8) == per_pixel(128, window=8) == 5 * 64**2 + 2 * 64 * 64
    assert per_pixel(64) == per_pixel(64, window=8)
    assert per_pixel(128) == 5 * 64**2 + 2 * 256 * 64


def test_numbers_that_do_not_fit(caplog):
    for arguments, message in (
        ({"attention": "multi"}, "attention='multi': expected 'nonlocal' or 'multihead'"),
        ({"heads": 5}, "heads=5: expected a number that divides the 32 channels"),
        ({"ratio": 8}, "ratios: 8 is no even number whose square divides the 32 channels"),
        ({"window": 0}, "window=0"),
        ({"grid": (8,)}, "grid="),
    ):
        with pytest.raises(ConfigError, match=message):
            VaryingWindowAttention(**{"channels": 32, "ratio": 4, **arguments})
    assert not caplog.records
    VaryingWindowAttention(32, 4, grid=(8, 3))
    assert "filled up with zeros" in caplog.text
