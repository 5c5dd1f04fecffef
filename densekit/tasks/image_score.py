"""What scoring of networks on images shares: do data and checkpoint fit, and which images does it know already."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from densekit.errors import CheckpointError, DataError, class_difference, close_names, few
from densekit.package import Checkpoint
from densekit.package.seen import LOOKS, image_hashes, leak, look_alikes, looks, trained_on
from densekit.structures.class_names import by_name, respelt
from densekit.structures.findings import Finding

logger = logging.getLogger("densekit")


class ScoredData(Protocol):
    """A data set that is scored on."""

    root: Path
    classes: Sequence[str]
    counts: Mapping[str, Any]
    """By split."""
    findings: Sequence[Finding]
    fingerprint: str


def once(file: str, reason: str) -> str:
    """A reason that names its file, once."""
    return reason if Path(file).name in reason else f"{file}: {reason}"


def known_images(checkpoint: Checkpoint, files: Sequence[str], root: Path, split: str) -> list[str]:
    """Say which images a checkpoint was trained on, and which others look like those."""
    seen, hashes = trained_on(checkpoint), image_hashes(files, root)
    packed = checkpoint.meta.get(LOOKS, "")
    others = looks([file for file in files if hashes.get(file) not in seen], root) if packed else {}
    return leak(seen, hashes, split, checkpoint.path) + look_alikes(packed, others, split, checkpoint.path)


def check_fit(checkpoint: Checkpoint, data: ScoredData, split: str | None) -> None:
    """Check that the data set has the classes of a checkpoint, and the split; a split drawn otherwise is said.

    Raises:
        CheckpointError: for other classes.
        DataError: if there is no such split.
    """
    labels, matched = list(checkpoint.labels), by_name(checkpoint.labels, data.classes)
    if len(matched) < len(data.classes):
        remedy = "score it on data of its classes"
        if matched:
            remedy = f'add --cfg-options "classes={list(matched)}"'.replace(", ", ",")
        raise CheckpointError(f"{checkpoint.path}: {class_difference(labels, list(data.classes))}; {remedy}")
    absent = [name for name in labels if name not in matched.values()]
    if absent:
        logger.warning("%s: has no class %s, which gets no score", data.root, few(map(repr, absent)))
    if words := respelt(matched):
        logger.warning("%s: %s", data.root, words)
    if split not in data.counts:
        raise DataError(
            f"{data.root}: has no split {split!r} (it has {', '.join(data.counts)})"
            f"{close_names(str(split), data.counts)}; choose with --split"
        )
    drawn = any(note.code == "split-drawn" for note in data.findings)
    if drawn and checkpoint.preprocessing["fingerprint"] != data.fingerprint:
        logger.warning(
            "%s: the data have no splits of their own, %r is drawn for this test; the checkpoint was trained with "
            "other data, another draw or all images, and may have learned some of these",
            data.root,
            split,
        )
