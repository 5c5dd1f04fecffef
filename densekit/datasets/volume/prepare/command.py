"""``densekit prepare`` of volumes: from raw data and options to a prepared folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densekit.errors import ConfigError

STORE = ("spacing", "native", "workers", "folds")
"""Options of every kind but phantoms."""
PHANTOMS = {"train": 10, "val": 2, "test": 3, "unseen": 1, "seed": 0}


def prepare(kind: str, raw: Path, out: Path | None, **given: Any) -> int:
    """Prepare a data set, or make phantoms.

    Args:
        kind: What the raw data are, or ``"phantom"``.
        raw: Where they lie; the folder to make for phantoms.
        out: Prepared folder; None for phantoms.
        **given: The options that are given: of the kind's reader, of the store, of phantoms.

    Returns:
        The exit status.

    Raises:
        ConfigError: for options that do not belong together.
        DataError, OutputError: what the readers and the store raise.
    """
    _check_options(kind, given)
    if kind == "phantom":
        return _phantom(raw, out, **given)
    from densekit.datasets.volume.prepare import options_of, read_source
    from densekit.datasets.volume.store import write_store

    if out is None:
        raise ConfigError(f"give the prepared folder as well: densekit prepare {kind} {raw} data/{kind}")
    if "native" in given and "spacing" in given:
        raise ConfigError("--native and --spacing contradict each other: native means no resampling")
    own = options_of(kind)
    source = read_source(kind, raw, work=out, **{name: value for name, value in given.items() if name in own})
    for note in source.notes:
        print(f"note: {note}", file=sys.stderr)
    spacing = {"spacing": None} if "native" in given else {}
    if "spacing" in given:
        spacing = {"spacing": tuple(given["spacing"])}
    started = time.perf_counter()

    def progress(case_id: str, done: int, total: int, seconds: float) -> None:
        left = (time.perf_counter() - started) / max(done, 1) * (total - done)
        print(f"[{done}/{total}] {case_id} {seconds:.1f} s, {left:.0f} s left", file=sys.stderr)

    workers = given.get("workers", min(4, os.cpu_count() or 1))
    folds, seed = given.get("folds"), given.get("seed", 0)
    store = write_store(source, out, workers=workers, progress=progress, folds=folds, seed=seed, **spacing)
    sizes = ", ".join(f"{len(ids)} {name}" for name, ids in store.splits.items())
    folds = f"{store.folds} folds, " if store.folds else ""
    print(
        f"prepared {store.name}: {sizes} cases, {folds}{len(store.labels) - 1} classes, "
        f"spacing {_mm(store.preprocessing.spacing)}: {out}"
    )
    return 0


def _check_options(kind: str, given: Mapping[str, Any]) -> None:
    """Refuse an option of another kind, which would do nothing."""
    from densekit.datasets.volume.prepare import KINDS, options_of

    store = (*STORE, "seed") if "folds" in given else STORE
    options = {**{name: (*options_of(name), *store) for name in KINDS}, "phantom": tuple(PHANTOMS)}
    for name in sorted(set(given) - set(options[kind])):
        takers = [other for other, names in options.items() if name in names]
        raise ConfigError(f"--{name.replace('_', '-')} is an option of {' and '.join(takers)}, not of {kind}")


def _phantom(raw: Path, out: Path | None, **given: int) -> int:
    from densekit.datasets.volume.prepare.phantom import make_phantoms

    if out is not None:
        raise ConfigError(
            f"phantom takes one folder, not {out} as well: densekit prepare phantom FOLDER makes raw data, then "
            f"densekit prepare synapse prepares them"
        )
    paths = make_phantoms(
        raw,
        **{**PHANTOMS, **given},
        progress=lambda case, done, total: print(f"[{done}/{total}] {case}", file=sys.stderr),
    )
    print(f"{len(paths)} phantoms in {raw}/RawData; next: densekit prepare synapse {raw}/RawData data/phantom")
    return 0


def _mm(spacing: tuple[float, float, float] | None) -> str:
    return "native" if spacing is None else " x ".join(f"{s:g}" for s in spacing) + " mm (D x H x W)"
