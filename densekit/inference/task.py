"""What a checkpoint is for: segmenting volumes, or finding objects in pictures."""

from __future__ import annotations

from densekit.errors import CheckpointError
from densekit.package.checkpoint import Checkpoint

DOES = {"volume": "segments volumes", "detection": "finds objects in pictures"}
"""What a checkpoint of each task does."""


def check_task(checkpoint: Checkpoint, task: str) -> None:
    """Check that a checkpoint is of the kind that its user predicts with.

    Args:
        checkpoint: The checkpoint.
        task: ``"volume"`` or ``"detection"``.

    Raises:
        CheckpointError: if it is of the other kind.
    """
    if checkpoint.task != task:
        does = DOES.get(checkpoint.task, f"has the task {checkpoint.task!r}")
        raise CheckpointError(
            f"{checkpoint.path}: {does}, but a checkpoint that {DOES[task]} is needed here; give one trained for that"
        )
