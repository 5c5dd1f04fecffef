"""``densekit prepare``: from the options of the command line to a prepared folder."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from densekit.errors import ConfigError

STORE = ("spacing", "native", "workers", "folds")
"""Options of every kind but phantoms."""
PHANTOMS = {"train": 10, "val": 2, "test": 3, "unseen": 1, "seed": 0}


def prepare(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status.

    Raises:
        ConfigError: for options that do not belong together.
        DataError, OutputError: what the readers and the store raise.
    """
    _check_options(arguments)
    if arguments.kind == "phantom":
        return _phantom(arguments)
    from densekit.datasets.volume.prepare import options_of, read_source
    from densekit.datasets.volume.store import write_store

    if arguments.out is None:
        raise ConfigError(
            f"give the prepared folder as well: densekit prepare {arguments.kind} {arguments.raw} data/{arguments.kind}"
        )
    if arguments.native and arguments.spacing:
        raise ConfigError("--native and --spacing contradict each other: native means no resampling")
    options = {
        name: getattr(arguments, name) for name in options_of(arguments.kind) if getattr(arguments, name) is not None
    }
    out = Path(arguments.out)
    source = read_source(arguments.kind, Path(arguments.raw), work=out, **options)
    for note in source.notes:
        print(f"note: {note}", file=sys.stderr)
    spacing = (
        {"spacing": None} if arguments.native else {"spacing": tuple(arguments.spacing)} if arguments.spacing else {}
    )
    started = time.perf_counter()

    def progress(case_id: str, done: int, total: int, seconds: float) -> None:
        left = (time.perf_counter() - started) / max(done, 1) * (total - done)
        print(f"[{done}/{total}] {case_id} {seconds:.1f} s, {left:.0f} s left", file=sys.stderr)

    workers = min(4, os.cpu_count() or 1) if arguments.workers is None else arguments.workers
    store = write_store(
        source,
        out,
        workers=workers,
        progress=progress,
        folds=arguments.folds,
        seed=arguments.seed or 0,
        **spacing,
    )
    sizes = ", ".join(f"{len(ids)} {name}" for name, ids in store.splits.items())
    folds = f"{store.folds} folds, " if store.folds else ""
    print(
        f"prepared {store.name}: {sizes} cases, {folds}{len(store.labels) - 1} classes, "
        f"spacing {_mm(store.preprocessing.spacing)}: {out}"
    )
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse an option of another kind, which would do nothing."""
    from densekit.datasets.volume.prepare import KINDS, options_of

    kind = arguments.kind
    store = (*STORE, "seed") if arguments.folds else STORE
    options = {**{name: (*options_of(name), *store) for name in KINDS}, "phantom": tuple(PHANTOMS)}
    for name in sorted({name for names in options.values() for name in names} - set(options[kind])):
        given = getattr(arguments, name)
        if given is not None and given is not False:
            takers = [other for other, names in options.items() if name in names]
            raise ConfigError(f"--{name.replace('_', '-')} is an option of {' and '.join(takers)}, not of {kind}")


def _phantom(a: argparse.Namespace) -> int:
    from densekit.datasets.volume.prepare.phantom import make_phantoms

    if a.out is not None:
        raise ConfigError(
            f"phantom takes one folder, not {a.out} as well: densekit prepare phantom FOLDER makes raw data, then "
            f"densekit prepare synapse prepares them"
        )
    numbers = {name: default if getattr(a, name) is None else getattr(a, name) for name, default in PHANTOMS.items()}
    paths = make_phantoms(
        Path(a.raw),
        **numbers,
        progress=lambda case, done, total: print(f"[{done}/{total}] {case}", file=sys.stderr),
    )
    print(f"{len(paths)} phantoms in {a.raw}/RawData; next: densekit prepare synapse {a.raw}/RawData data/phantom")
    return 0


def _mm(spacing: tuple[float, float, float] | None) -> str:
    return "native" if spacing is None else " x ".join(f"{s:g}" for s in spacing) + " mm (D x H x W)"
