"""Unit partitions of D-Former: which tokens share a unit (spec of LSM and GSM), and that nothing is lost."""

import itertools

import pytest
import torch

from densekit.ops.partition import unit_partition

SIZES = [
    ((4, 16, 8), (2, 8, 4)),  # whole units
    ((5, 9, 7), (2, 4, 4)),  # padding on every axis
    ((7, 8, 8), (2, 8, 8)),  # padding in depth only
    ((1, 8, 3), (2, 4, 8)),  # map smaller than the unit in D and W
    ((3, 5, 20), (2, 8, 8)),  # fewer rows than the unit: one unit
]


def coordinates(size):
    """Map (1, D, H, W, 3) that holds its own coordinates, counted from 1 so that padding (0) stands out."""
    return torch.stack(torch.meshgrid(*(torch.arange(1, s + 1) for s in size), indexing="ij"), dim=-1)[None]


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize(("size", "unit"), SIZES)
def test_partition_and_back_is_the_identity(size, unit, dilated):
    x = torch.randn(2, *size, 3)
    partition = unit_partition(size, unit, dilated=dilated)
    units = partition.partition(x)
    assert units.shape[1] == partition.tokens
    assert torch.equal(partition.restore(units), x)


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize(("size", "unit"), SIZES)
def test_units_are_bricks_or_arithmetic_progressions(size, unit, dilated):
    partition = unit_partition(size, unit, dilated=dilated)
    real = partition.real_tokens()
    for number, tokens in enumerate(partition.partition(coordinates(size))):
        tokens = tokens if real is None else tokens[real[number]]
        axes = [sorted(set(tokens[:, axis].tolist())) for axis in range(3)]
        for axis, values in enumerate(axes):
            step = partition.grid[axis] if dilated else 1
            assert values == list(range(values[0], values[-1] + 1, step))
            assert len(values) <= partition.unit[axis]
        # The unit is the whole product of its three progressions, in D, H, W order.
        assert [tuple(t) for t in tokens.tolist()] == list(itertools.product(*axes))


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize(("size", "unit"), SIZES)
def test_real_tokens_are_those_of_the_map_and_every_unit_has_one(size, unit, dilated):
    partition = unit_partition(size, unit, dilated=dilated)
    of_the_map = partition.partition(torch.ones(1, *size, 1, dtype=torch.bool)).squeeze(-1)
    real = partition.real_tokens()
    assert (real is None) == of_the_map.all()
    if real is not None:
        assert torch.equal(real, of_the_map)
        assert real.any(dim=1).all()


def test_every_unit_has_a_real_token_for_all_small_sizes():
    for size, unit, dilated in itertools.product(range(1, 13), range(1, 7), [False, True]):
        real = unit_partition((1, size, 1), (1, unit, 1), dilated=dilated).real_tokens()
        assert real is None or real.any(dim=1).all(), (size, unit, dilated)


def test_depth_only_padding_is_marked():
    assert unit_partition((7, 8, 8), (2, 8, 8), dilated=True).real_tokens().sum() == 7 * 8 * 8


@pytest.mark.parametrize(
    ("size", "unit", "grid"),
    [
        ((32, 32, 32), (2, 8, 8), (16, 4, 4)),
        ((16, 16, 16), (2, 8, 8), (8, 2, 2)),
        ((8, 8, 8), (2, 8, 8), (4, 1, 1)),
        ((4, 4, 4), (4, 4, 4), (1, 1, 1)),
    ],
)
def test_table_of_the_synapse_crop(size, unit, grid):
    partition = unit_partition(size, (2, 8, 8), dilated=True)
    assert (partition.unit, partition.grid) == (unit, grid)


def test_first_dilated_unit_spans_the_map():
    partition = unit_partition((32, 32, 32), (2, 8, 8), dilated=True)
    first = partition.partition(coordinates((32, 32, 32)))[0]
    reach = first.amax(0) - first.amin(0) + 1
    assert reach.tolist() == [17, 29, 29]


def test_a_map_with_fewer_rows_than_the_unit_is_one_unit_on_all_axes():
    partition = unit_partition((9, 7, 30), (2, 8, 8), dilated=True)
    assert (partition.unit, partition.grid, partition.padded) == ((9, 7, 30), (1, 1, 1), (9, 7, 30))


def test_units_of_a_batch_do_not_mix_samples():
    x = torch.arange(3.0).view(3, 1, 1, 1, 1).expand(3, 4, 8, 8, 2)
    units = unit_partition((4, 8, 8), (2, 4, 4), dilated=True).partition(x)
    assert torch.equal(units[:, 0, 0], torch.arange(3.0).repeat_interleave(8))
    assert (units == units[:, :1, :1]).all()
