"""Which pairs train and validate: by their folders, a CSV beside the data, folds, or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densekit.datasets.segmentation.draft import Draft
from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.image_folds import image_folds
from densekit.datasets.shared.image_splits import draw, look_up, read_table
from densekit.datasets.shared.split_file import Splits
from densekit.errors import DataError, few


def assign_splits(draft: Draft, root: Path, seed: int | None) -> list[int]:
    """Give a split to pairs that have none: by a CSV beside the data, else drawn, if none validates.

    Returns:
        Places of the pairs that have a split then: a CSV may leave some out.

    Raises:
        DataError: if the CSV cannot be understood, or names none of the images.
    """
    pairs = draft.pairs
    table = read_table(root) if any(pair.split is None for pair in pairs) else None
    if table is not None:
        path, splits = table
        found = [look_up(pair.image, splits) for pair in pairs]
        if not any(found):
            raise DataError(
                f"{path}: names none of the images, which are called {few((p.image for p in pairs), 2)}; write file "
                f"names, stems, or a folder that each image lies in"
            )
        draft.findings.add("layout", count=1, message=f"splits are those of {path.name}")
        for pair, split in zip(pairs, found, strict=True):
            pair.split = pair.split or split
        unnamed = [pair.image for pair in pairs if pair.split is None]
        words = f"images that {path.name} does not name, left out"
        draft.findings.add("layout", *unnamed[:3], count=len(unnamed), message=words)
        return [n for n, pair in enumerate(pairs) if pair.split is not None]
    for pair in pairs:
        pair.split = pair.split or "train"
    if seed is not None and all(pair.split != "val" for pair in pairs):
        pool = [pair for pair in pairs if pair.split == "train"]
        chosen = draw([pair.image for pair in pool], seed=seed)
        for pair in pool:
            pair.split = "val" if pair.image in chosen else "train"
        words = f"no validation split is given: {len(chosen)} of {len(pool)} images drawn for it (seed {seed})"
        draft.findings.add("split-drawn", count=1 if chosen else 0, message=words)
    return list(range(len(pairs)))


def divide(draft: Draft, root: Path, headers: Sequence[Header], pixels: np.ndarray, fold: Fold) -> Splits:
    """Make folds of the pairs that train and validate, stratified by class, and give each its split in one of them.

    Returns:
        All of them.

    Raises:
        ConfigError: if there are fewer patients than folds.
        DataError: if the table of patients cannot be read.
    """
    pool = [n for n, pair in enumerate(draft.pairs) if pair.split != "test"]
    files = [draft.pairs[n].image for n in pool]
    tags = {draft.pairs[n].image: set(np.flatnonzero(pixels[n, :-1]).tolist()) for n in pool}
    splits = image_folds(files, root, [headers[n] for n in pool], tags, fold)
    chosen = set(splits.folds[fold.index]["val"])
    for n in pool:
        draft.pairs[n].split = "val" if draft.pairs[n].image in chosen else "train"
    words = (
        f"fold {fold.index} of {fold.number} (from 0): {len(chosen)} of {len(pool)} images validate; by {splits.by}, "
        f"stratified by {splits.stratified} (seed {splits.seed})"
    )
    draft.findings.add("layout", count=1, message=words)
    return splits
