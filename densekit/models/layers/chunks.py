"""Working through a large tensor piece by piece, and computing again instead of keeping: less memory, the same numbers.

On a CPU this is also the faster way: a piece stays in the core's cache, and the memory of large intermediate maps,
which the system has to hand out and clear anew on every pass, is never asked for. On a GPU every piece costs launches,
so there it is done only on request. A compiled graph is left whole: the compiler makes these choices itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_CPU_FLOATS = 2**20
_GPU_FLOATS = 2**26


def chunked(function: Callable[..., Tensor], rows: Tensor, *others: Tensor | None, width: int, again: bool) -> Tensor:
    """Apply a function that treats every row by itself, to a piece of the rows at a time.

    Args:
        function: ``(piece of rows, pieces of others) -> (piece length, ...)``; must not draw random numbers.
        rows: ``(N, ...)``.
        others: Further tensors ``(N, ...)``, cut alongside, or None.
        width: Numbers per row in the largest map that the function makes.
        again: Keep only the rows for the backward pass and call the function again there.

    Returns:
        What ``function(rows, *others)`` would.
    """
    length = _chunk_length(rows, width, again)
    pieces = zip(*(_split(x, len(rows), length) for x in (rows, *others)), strict=True)
    done = [recomputed(function, *piece) if again else function(*piece) for piece in pieces]
    return done[0] if len(done) == 1 else torch.cat(done)


def recomputed(function: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
    """Call a function, keeping only its arguments for the backward pass; it must not draw random numbers.

    The second call ends as soon as all that the backward pass needs is there again: with a linear layer last, only what
    comes before that layer is computed twice.
    """
    if torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return function(*args)


def frugal(x: Tensor) -> bool:
    """Whether to save memory wherever it costs nothing: on a CPU, outside a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _chunk_length(rows: Tensor, width: int, again: bool) -> int:
    if torch.compiler.is_compiling():
        return len(rows)
    if rows.device.type == "cpu":
        return max(1, _CPU_FLOATS // width)
    return max(1, _GPU_FLOATS // width) if again else len(rows)


def _split(x: Tensor | None, rows: int, length: int) -> tuple[Tensor | None, ...]:
    return x.split(length) if x is not None else (None,) * -(-rows // length)
