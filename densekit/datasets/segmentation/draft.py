"""What the readers of the layouts make: pairs of files that are not checked yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densekit.datasets.segmentation.classes import ClassList
from densekit.datasets.segmentation.findings import Findings


@dataclass
class DraftPair:
    """An image and what is annotated on it.

    Attributes:
        image: POSIX path relative to the data set's root.
        mask: Likewise, the mask, or the file that holds the annotation.
        split: ``"train"``, ``"val"``, ``"test"``; None if the layout does not say.
        drawn: What :attr:`Draft.draw` makes a mask of.
    """

    image: str
    mask: str
    split: str | None = None
    drawn: Any = None


@dataclass
class Draft:
    """A data set as its layout has it.

    Attributes:
        pairs: All of them.
        classes: Its classes; None: the layout does not say.
        findings: What was noticed.
        draw: Makes the values of a pair's mask, uint8 ``(H, W)``, from ``(pair, width, height)``, and says whether
            annotations overlap; None: masks are files.
        background: The value of ``classes`` that stands for what nobody drew; None: there is none.
        named: Whether the classes' names are the data set's own, which others cannot replace.
    """

    pairs: list[DraftPair]
    classes: ClassList | None
    findings: Findings
    draw: Callable[[DraftPair, int, int], tuple[np.ndarray, bool]] | None = None
    background: int | None = None
    named: bool = True


@dataclass(frozen=True)
class SegmentationSource:
    """Where a data set lies and how it is laid out; only names were looked at.

    Attributes:
        format: Name of the layout.
        root: Folder of the data set.
        layout: What was recognised, in a sentence.
        reader: The function that reads it.
        found: What the reader is to read.
    """

    format: str
    root: Path
    layout: str
    reader: Callable[[SegmentationSource], Draft] = field(repr=False)
    found: Any = field(default=None, repr=False)
