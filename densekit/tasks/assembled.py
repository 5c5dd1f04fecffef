"""``densekit models --assemble``: do parts fit, and what does the model cost that they make?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from densekit.errors import ConfigError


def print_assembled(parts: Sequence[str], *, size: Sequence[int], num_classes: int) -> int:
    """Print parameters, multiply-accumulates and the model config that parts make; without weights.

    Args:
        parts: Names of the backbone, the necks if any, and the head.
        size: Height and width of an image, or depth, height and width of a volume; one number for all of them.
        num_classes: See :func:`densekit.models.assemble.assemble`.

    Raises:
        ConfigError: if they do not fit (the message says what would), or for sides that cannot be.
    """
    from densekit.engine.origin import assignment
    from densekit.models.assemble import assemble

    if len(parts) < 2:
        raise ConfigError(f"--assemble {' '.join(parts)}: give a backbone and a head, and the necks between them")
    backbone, *necks, head = parts
    model = assemble(backbone=backbone, neck=necks or None, head=head, num_classes=num_classes).to_dict()
    dims = 3 if model["type"] == "VolumeSegmentor" else 2
    if len(size) not in (1, dims) or min(size) < 1:
        raise ConfigError(f"--size {' '.join(map(str, size))}: give {dims} sides above 0, or one for all of them")
    sides = tuple(size) * (dims if len(size) == 1 else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of libraries, about each other
        parameters, cost = _cost(model, sides)
    kind = model["type"].rpartition(".")[2]
    print(f"{' -> '.join(parts)}: they fit, as {kind}")
    print(f"  {parameters / 1e6:.2f} M parameters")
    print(f"  {cost / 1e9:.2f} G multiply-accumulates at {'x'.join(map(str, sides))}, {num_classes} classes")
    print("\n".join(["", *assignment("model", model)]))
    return 0


def _cost(model: dict, sides: tuple[int, ...]) -> tuple[int, int]:
    from densekit.models import cost

    if model["type"].startswith("mmdet."):
        return cost.detector_cost(model, *sides)
    if len(sides) == 2:
        return cost.segmentor_cost(model, *sides)
    return cost.volume_cost(model, *sides)
