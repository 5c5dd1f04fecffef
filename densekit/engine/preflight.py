"""Before a training of hours: two steps on the worst batch it can meet, and a batch size that its memory takes.

Two steps are trained on the largest batch that the plan can name, since that is where a training fails late. They are
done by a network that is made for it and thrown away; only the random numbers, which the training goes on with, are put
back.
"""

from __future__ import annotations

import copy
import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn
from torch.utils.data import default_collate

from densekit.errors import ConfigError, few, why_too_small
from densekit.progress import Lines
from densekit.random_state import random_state_kept

logger = logging.getLogger("densekit")

_SHOWN = 4


class Batch(Protocol):
    """Samples to try a training with."""

    data: Mapping[str, Any]
    """Collated, as ``model.data_preprocessor`` takes them."""

    def first(self, number: int) -> Batch:
        """The same of fewer samples."""

    def described(self) -> str:
        """What they are, in words."""

    def heavy(self) -> tuple[str, list[str]]:
        """What besides their size may fill the memory, and remedies; "" for nothing."""


# --- dry run ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SampleBatch:
    """Training samples, all of one size.

    Attributes:
        samples: Of the training data set; their images are under ``inputs`` or ``image``.
        kind: What one is called.
        collate: Makes a batch of samples.
    """

    samples: list[dict[str, Any]]
    kind: tuple[str, str] = ("sample", "samples")
    collate: Callable[[list[dict[str, Any]]], Any] = default_collate

    @property
    def data(self) -> Any:
        """The samples, collated."""
        return self.collate(self.samples)

    def first(self, number: int) -> SampleBatch:
        """The same of fewer samples."""
        return replace(self, samples=self.samples[:number])

    def described(self) -> str:
        """In words: ``2 patches of 1x64x128x128``."""
        number, shape = len(self.samples), self.samples[0]["inputs"].shape
        return f"{number} {self.kind[number > 1]} of {'x'.join(map(str, shape))}"

    def heavy(self) -> tuple[str, list[str]]:
        """Nothing besides the size of the samples."""
        return "", []


@dataclass(frozen=True)
class DryRun:
    """What came of a few training steps.

    Attributes:
        batch: What they were done on, in words.
        losses: Of each step the parts of the loss, ``"loss"`` their sum.
        seconds: Of each step, loading not counted; the first may warm up.
        memory: Bytes: on a GPU the most that was allocated, model included; on the CPU the most by which the process
            grew, which leaves out memory it had free inside. None: cannot be measured here.
        gpu: Whether ``memory`` is a GPU's.
        gpu_memory: Bytes of that GPU, else 0.
        without_gradient: Parameters that are to be trained, but got no gradient in any step.
        frozen: Parameters that are not to be trained.
        finite_gradients: Whether all gradients were numbers (not looked at with fp16, which expects some that are not).
        iterations: Of an epoch, if given.
    """

    batch: str
    losses: tuple[dict[str, float], ...]
    seconds: tuple[float, ...]
    memory: int | None
    gpu: bool
    gpu_memory: int
    without_gradient: tuple[str, ...]
    frozen: tuple[str, ...]
    finite_gradients: bool
    iterations: int | None = None

    @property
    def problems(self) -> list[str]:
        """What speaks against training like this; empty: go."""
        for number, losses in enumerate(self.losses, start=1):
            bad = [name for name, value in losses.items() if not math.isfinite(value) and name != "loss"]
            if bad or not math.isfinite(losses["loss"]):
                shown = ", ".join(f"{name}={losses[name]}" for name in bad or ["loss"])
                return [
                    f"step {number}: {shown}; lower optimizer.lr or set clip_grad, and look at the data with "
                    f"`densekit check`"
                ]
        if not self.finite_gradients:
            return ["gradients are no numbers although the loss is one; lower optimizer.lr or set amp=None"]
        return []

    @property
    def seconds_per_epoch(self) -> float | None:
        """An upper bound without loading: no batch takes longer than this one."""
        return None if self.iterations is None else self.iterations * min(self.seconds[1:] or self.seconds)

    def table(self) -> list[tuple[str, str]]:
        """Rows ``(name, value)`` of a card."""
        rows = [("verdict", "no-go" if self.problems else "go"), ("worst batch", self.batch)]
        names = list(self.losses[0])
        rows += [(name, " -> ".join(f"{losses.get(name, math.nan):.4g}" for losses in self.losses)) for name in names]
        rows.append(("step", f"{min(self.seconds[1:] or self.seconds):.2f} s"))
        rows.append(("memory", self._memory()))
        if self.seconds_per_epoch is not None:
            rows.append(("epoch", f"at most {_duration(self.seconds_per_epoch)}, loading not counted"))
        rows.append(("frozen parameters", str(len(self.frozen))))
        rows.append(("parameters without gradient", few(self.without_gradient, _SHOWN) or "none"))
        if self.without_gradient:
            rows.append(("caution", "those learn nothing, and a training on several GPUs stops at them; freeze them"))
        return rows + [("no-go", problem) for problem in self.problems]

    def _memory(self) -> str:
        if self.memory is None:
            return "cannot be measured here"
        if self.gpu:
            return f"{_size(self.memory)} of the GPU's {_size(self.gpu_memory)}"
        return f"{_size(self.memory)} more than before"


def dry_run(
    model: nn.Module,
    optimizer: OptimWrapper,
    batch: Batch,
    *,
    steps: int = 2,
    iterations: int | None = None,
) -> DryRun:
    """Do whole training steps on a batch, which draw no random numbers of the training.

    Args:
        model: The network on its device, not wrapped for several processes. It is trained: no training
            may start from it.
        optimizer: As in training, but for its accumulation: each step steps.
        batch: What :meth:`densekit.engine.plan.Plan.worst_batch` returned.
        steps: Number of steps.
        iterations: Of an epoch, for the estimate of its time.

    Raises:
        torch.OutOfMemoryError: if the batch does not fit (:func:`fitting_batch` takes it up).
    """
    device = next(model.parameters()).device
    losses, seconds = [], []
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    idle, finite = set(trained), True
    scaled = hasattr(optimizer, "loss_scaler")
    lines = Lines(logger.info)
    with random_state_kept():
        model.train()
        hub = MessageHub.get_current_instance()  # where some losses and augmentations of batches ask how far it is
        hub.update_info("epoch", 0)
        with _peak_memory(device) as memory:
            for number in range(1, steps + 1):
                hub.update_info("iter", number - 1)
                inputs = copy.deepcopy(batch.data)  # MMDetection writes into its samples
                started = _now(device)
                losses.append(_backward(model, optimizer, inputs))
                given = {name: p.grad for name, p in trained.items() if p.grad is not None}
                idle -= given.keys()
                finite &= scaled or bool(torch.nn.utils.get_total_norm(list(given.values())).isfinite())
                optimizer.step()
                optimizer.zero_grad()
                seconds.append(_now(device) - started)
                lines(number, steps, f"trial step {number} of {steps} on {batch.described()}")
    return DryRun(
        batch=batch.described(),
        losses=tuple(losses),
        seconds=tuple(seconds),
        memory=memory.bytes,
        gpu=device.type == "cuda",
        gpu_memory=torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0,
        without_gradient=tuple(name for name in trained if name in idle),
        frozen=tuple(name for name, p in model.named_parameters() if not p.requires_grad),
        finite_gradients=finite,
        iterations=iterations,
    )


def _backward(model: nn.Module, optimizer: OptimWrapper, inputs: dict[str, Any]) -> dict[str, float]:
    """Forward and backward pass; the losses."""
    with optimizer.optim_context(model):
        data = model.data_preprocessor(inputs, True)
        total, parts = model.parse_losses(model._run_forward(data, mode="loss"))
    optimizer.backward(total)
    found = {name: float(value.detach()) for name, value in parts.items() if name != "loss"}
    return {**found, "loss": float(total.detach())}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# --- memory -----------------------------------------------------------------------------------------------------------
class _Memory:
    bytes: int | None = None


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[_Memory]:
    """Measure the most memory that a block takes, see :class:`DryRun`."""
    memory = _Memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield memory
        memory.bytes = torch.cuda.max_memory_allocated(device)
        return
    gc.collect()
    before = _reset_peak()
    yield memory
    if before is not None:
        memory.bytes = max(0, _status("VmHWM") - before)
        return


def _reset_peak() -> int | None:
    """Set Linux' record of this process's most memory back to what it has now, and return that in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.partition(f"{name}:")[2].split()[0])


# --- a batch that fits ------------------------------------------------------------------------------------------------
def fitting_batch(
    try_batch: Callable[[int], Any], batch_size: int, accumulate: int, *, worst: Batch, smaller: str
) -> tuple[int, int, str | None]:
    """Find the largest batch that the memory takes, with as many images between two steps of the optimizer as before.

    Args:
        try_batch: Trains on the worst batch of so many images; raises ``torch.OutOfMemoryError`` if it does not fit.
        batch_size: The first that is tried; then half of it, and so on.
        accumulate: Batches between two steps of the optimizer.
        worst: The batch that is tried, to name the cause if not even one sample fits.
        smaller: What to make smaller then.

    Returns:
        Batch size, batches between two steps, and a line for the log if they are others than before.

    Raises:
        ConfigError: if one image does not fit.
    """
    images, size = batch_size * accumulate, batch_size
    while (reason := _too_much(try_batch, size)) is not None:
        if size == 1:
            raise ConfigError(_hopeless(reason, worst.first(1), smaller))
        size = max(n for n in range(1, size // 2 + 1) if images % n == 0)
    if size == batch_size:
        return batch_size, accumulate, None
    return (
        size,
        images // size,
        f"batch_size={batch_size} does not fit the memory: batch_size={size} and accumulate={images // size} take its "
        f"place, {images} images a step as before",
    )


def _too_much(try_batch: Callable[[int], Any], size: int) -> str | None:
    """The message of the memory being too small, or None."""
    try:
        try_batch(size)
        return None
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        # memory of the CPU, and of the libraries that allocate beside torch, has no error of its own
        words = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
        if not isinstance(error, torch.OutOfMemoryError) and not any(word in str(error) for word in words):
            raise
        reason = " ".join(str(error).partition(". ")[0].split()) or type(error).__name__
    # The error, gone now, held everything that was allocated.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return reason


def _hopeless(reason: str, one: Batch, smaller: str) -> str:
    cause, remedies = one.heavy()
    remedies = [*remedies, f"lower {smaller}", "set amp='bf16'", "take a smaller network"]
    cause = f": {cause}" if cause else ""
    return f"not even batch_size=1 fits the memory ({reason}), with {one.described()}{cause}; {', '.join(remedies)}"


@contextmanager
def sizes_explained(smaller: str) -> Iterator[None]:
    """Say in the config's terms that the samples are of a size which the network cannot take.

    Args:
        smaller: What sets their size.

    Raises:
        ConfigError: in the place of torch's error.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if (reason := why_too_small(error)) is None:
            raise
        alone = "raise batch_size to 2, or " if "size([1, " in reason.lower() else ""  # batch norm of a pooled image
        raise ConfigError(
            f"the network cannot take samples of this size ({reason}); {alone}raise {smaller}, or pad: sides that are "
            f"multiples of 32 (pad_size_divisor of a data_preprocessor, or a Pad) suit most networks"
        ) from error


# --- words ------------------------------------------------------------------------------------------------------------
def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
