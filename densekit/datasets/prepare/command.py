"""``densekit prepare``: from the options of the command line to a prepared folder."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from densekit.errors import ConfigError

# Which options a kind takes; giving another one is an error rather than a silent no-op.
OPTIONS = {
    "synapse": ("encoding", "classes", "val_cases"),
    "acdc": (),
    "msd": ("splits", "seed"),
    "nnunet": ("splits", "seed"),
    "folder": ("splits", "labels", "channels", "seed"),
}
OWN = ("encoding", "classes", "val_cases", "splits", "labels", "channels")


def prepare(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status.

    Raises:
        ConfigError: for options that do not belong together.
        DataError, OutputError: what the readers and the store raise.
    """
    if arguments.kind == "phantom":
        return _phantom(arguments)
    from densekit.datasets.prepare import read_source
    from densekit.datasets.store import write_store

    if arguments.out is None:
        raise ConfigError(
            f"give the prepared folder as well: densekit prepare {arguments.kind} {arguments.raw} data/{arguments.kind}"
        )
    if arguments.native and arguments.spacing:
        raise ConfigError("--native and --spacing contradict each other: native means no resampling")
    for name in OWN:
        if getattr(arguments, name) is not None and name not in OPTIONS[arguments.kind]:
            takers = " and ".join(k for k, names in OPTIONS.items() if name in names)
            raise ConfigError(f"--{name.replace('_', '-')} is an option of {takers}, not of {arguments.kind}")
    options = {
        name: getattr(arguments, name) for name in OPTIONS[arguments.kind] if getattr(arguments, name) is not None
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

    store = write_store(source, out, workers=arguments.workers, progress=progress, **spacing)
    sizes = ", ".join(f"{len(ids)} {name}" for name, ids in store.splits.items())
    print(
        f"prepared {store.name}: {sizes} cases, {len(store.labels) - 1} classes, "
        f"spacing {_mm(store.preprocessing.spacing)}: {out}"
    )
    return 0


def _phantom(a: argparse.Namespace) -> int:
    from densekit.datasets.prepare.phantom import make_phantoms

    given = [name for name in OWN if getattr(a, name) is not None]
    if given or a.out is not None:
        what = f"--{given[0].replace('_', '-')}" if given else "a second folder"
        raise ConfigError(
            f"phantom takes no {what}: densekit prepare phantom FOLDER makes raw data, then densekit prepare synapse "
            f"prepares them"
        )
    paths = make_phantoms(
        Path(a.raw),
        train=a.train,
        val=a.val,
        test=a.test,
        unseen=a.unseen,
        seed=a.seed,
        progress=lambda case, done, total: print(f"[{done}/{total}] {case}", file=sys.stderr),
    )
    print(f"{len(paths)} phantoms in {a.raw}/RawData; next: densekit prepare synapse {a.raw}/RawData data/phantom")
    return 0


def _mm(spacing: tuple[float, float, float] | None) -> str:
    return "native" if spacing is None else " x ".join(f"{s:g}" for s in spacing) + " mm (D x H x W)"
