"""Modules without memory, from constructors that compute with numbers."""

import threading

import pytest
import torch
from torch import nn

from densekit.models.on_meta import on_meta


class Counting(nn.Module):
    """A constructor that asks a tensor for its number, as transformers do."""

    def __init__(self):
        super().__init__()
        self.rate = torch.linspace(0, 1, 3)[1].item()
        self.linear = nn.Linear(2, 2, bias=False).requires_grad_(False)
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.linear.weight
        self.register_buffer("table", torch.arange(4))
        self.register_buffer("none", None)
        self.lazy = nn.LazyLinear(3)


def test_all_tensors_are_on_meta_and_the_rest_has_numbers():
    with on_meta():
        module = Counting()
    assert module.rate == 0.5
    assert module.linear.weight.is_meta and not module.linear.weight.requires_grad
    assert module.tied.weight is module.linear.weight
    assert module.table.is_meta and module.table.shape == (4,)


def test_afterwards_nothing_has_changed_whatever_happened():
    state = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="constructor"), on_meta():
        nn.Linear(2, 2)
        torch.rand(3)
        raise ValueError("constructor")
    assert not nn.Linear(2, 2).weight.is_meta
    torch.random.set_rng_state(state)
    with on_meta():
        torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_other_threads_build_as_ever():
    built = []
    with on_meta():
        thread = threading.Thread(target=lambda: built.append(nn.Linear(2, 2)))
        thread.start()
        thread.join()
    assert not built[0].weight.is_meta
