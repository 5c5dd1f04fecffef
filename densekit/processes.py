"""The processes of a run that torchrun started: one per GPU, or several on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from mmengine.dist import broadcast_object_list, is_main_process

from densekit.errors import ConfigError, DensekitError

T = TypeVar("T")


def join_processes() -> None:
    """Join the process group that torchrun set up: NCCL with one GPU per process, gloo without GPUs.

    MMEngine's own start asks for a GPU.

    Raises:
        ConfigError: if the process was not started by torchrun, or there are fewer GPUs than processes.
    """
    if "RANK" not in os.environ:
        raise ConfigError(
            "--launcher=pytorch: not started by torchrun; run `torchrun --nproc_per_node=N tools/train.py CONFIG "
            "--launcher pytorch`"
        )
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        here, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if here >= gpus:
            raise ConfigError(
                f"--launcher=pytorch: process {here + 1} of this machine has no GPU of its own, there are {gpus}; give "
                f"`torchrun --nproc_per_node={gpus}`"
            )
        torch.cuda.set_device(here)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend)


def leave_processes() -> None:
    """Leave the process group.

    One that still stands when the interpreter goes down can abort the process; torchrun then ends the others, the one
    that is still writing the report among them. After an error it is not called: with NCCL it would wait for processes
    that do not come.
    """
    torch.distributed.destroy_process_group()


def main_first(work: Callable[[], T]) -> T:
    """Do something in the main process, then in the others, which find it in the cache; an error is everybody's."""
    problem: list[DensekitError | None] = [None]
    result: T | None = None
    if is_main_process():
        try:
            result = work()
        except DensekitError as error:
            problem[0] = error
    broadcast_object_list(problem)
    if problem[0] is not None:
        raise problem[0]
    return result if is_main_process() else work()
