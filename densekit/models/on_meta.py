"""Modules without memory for their parameters, whatever their constructors do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import UninitializedTensorMixin


@contextmanager
def on_meta() -> Iterator[None]:
    """Modules built in this context have their parameters and buffers on PyTorch's meta device.

    Each becomes meta as it is registered; whatever else a constructor computes, it computes with numbers. Under
    ``torch.device("meta")`` it would compute without, and ``.item()`` fail, which transformers call for the rates of
    their stochastic depth. Random numbers that a constructor draws are given back; modules that other threads build
    meanwhile stay as they are.
    """
    thread = threading.get_ident()

    def moved(_module: nn.Module, _name: str, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.is_meta or isinstance(tensor, UninitializedTensorMixin):
            return None
        if threading.get_ident() != thread:
            return None
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(tensor.to("meta"), requires_grad=tensor.requires_grad)
        return tensor.to("meta")

    handles = [register_module_parameter_registration_hook(moved), register_module_buffer_registration_hook(moved)]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for handle in handles:
            handle.remove()
