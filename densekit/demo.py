"""``densekit demo``: the whole job on made-up data, from raw NIfTI files to a report, in a few minutes on a CPU.

It runs the same code as the command line, step by step, and prints the command each step stands for.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from densekit.errors import ConfigError

if TYPE_CHECKING:
    from densekit.evaluation.volume.table import Summary

CONFIG = "dformer-tiny_phantom"


def demo(work_dir: Path, *, seed: int = 0, epochs: int | None = None) -> int:
    """Make phantoms, prepare them, train a tiny D-Former, score it, predict an unseen volume, write the report.

    Args:
        work_dir: Where everything goes; ``raw/``, ``data/``, ``test_best_test/`` and ``predictions/`` are made in it.
        seed: Of the phantoms and of the training.
        epochs: Replaces the config's number of epochs.

    Returns:
        The exit status.
    """
    from densekit.datasets.volume.prepare import read_source
    from densekit.datasets.volume.prepare.phantom import make_phantoms
    from densekit.datasets.volume.store import write_store
    from densekit.tasks import predict, test, train

    started = time.perf_counter()
    raw, data, predictions = work_dir / "raw", work_dir / "data", work_dir / "predictions"
    if epochs is not None and epochs < 1:
        raise ConfigError(f"--epochs {epochs}: expected a whole number from 1 on")
    if (work_dir / "last.pth").exists() and not raw.is_dir():
        raise ConfigError(f"{work_dir}: holds a run that is not the demo's; choose another folder with --work-dir")

    _step(1, "abdominal phantoms in the raw BTCV layout", f"densekit prepare phantom {raw} --seed {seed}")
    make_phantoms(raw, train=12, val=2, test=3, unseen=1, seed=seed)

    _step(
        2,
        "prepare them: resample, crop, index, fingerprint",
        f"densekit prepare synapse {raw}/RawData {data} --classes 8 --spacing 6 4 4",
    )
    source = read_source("synapse", raw / "RawData", work=data, classes=8)
    store = write_store(source, data, spacing=(6.0, 4.0, 4.0), workers=2)
    print(f"    {', '.join(f'{len(ids)} {split}' for split, ids in store.splits.items())} cases")

    _step(
        3,
        "train a tiny D-Former",
        f"densekit train {CONFIG} --data {data} --work-dir {work_dir} --seed {seed}",
    )
    options = [] if epochs is None else [f"max_epochs={epochs}"]
    _remove_run(work_dir)
    train(CONFIG, data=data, work_dir=work_dir, seed=seed, options=options)

    best = work_dir / "best.pth"
    _step(
        4,
        "score it on cases it never saw, on their own grids",
        f"densekit test {best} --data {data}",
    )
    table = test(best, data=data)
    print(table.render())

    unseen = sorted((raw / "RawData" / "Testing" / "img").glob("*.nii.gz"))
    _step(5, "predict a volume nobody labelled", f"densekit predict {best} {unseen[0]} --out {predictions}")
    result = predict(best, [str(p) for p in unseen], predictions, overwrite=True)

    _step(6, "write the report", "")
    report = _report(work_dir, store, table, result)
    print(
        f"\nmean Dice {table.overall().dice.value:.3f} on {len(store.splits['test'])} unseen cases, "
        f"{time.perf_counter() - started:.0f} s in all"
    )
    print(f"open {report}   (checkpoint: {best}, label map: {predictions})")
    return result.exit_status


def _remove_run(work_dir: Path) -> None:
    """Remove what an earlier demo trained: its phantoms are the same, its pictures may be of later epochs."""
    for path in (work_dir / "best.pth", work_dir / "last.pth", *(work_dir / "pictures").glob("epoch_*.png")):
        path.unlink(missing_ok=True)


def _step(number: int, text: str, command: str) -> None:
    print(f"\n== {number}/6 {text}" + (f"\n   $ {command}" if command else ""), flush=True)


def _report(work_dir: Path, store, table, result) -> Path:
    from densekit.visualization.volume.report import write_training_report

    pictures = sorted((work_dir / "pictures").glob("*.png"))[-1:]
    path = work_dir / "report.html"
    write_training_report(
        path,
        title="densekit demo: a tiny D-Former on abdominal phantoms",
        facts={
            "data": f"{store.name} phantoms (made up, no patient): "
            + ", ".join(f"{len(ids)} {split}" for split, ids in store.splits.items()),
            "classes": ", ".join(store.labels[1:]),
            "spacing (D x H x W)": " x ".join(f"{s:g}" for s in store.preprocessing.spacing) + " mm",
            "mean Dice on unseen cases": f"{table.overall().dice.value:.3f}",
        },
        curves_png=work_dir / "curves.png",
        rows=[_row(table.structure(name)) for name in table.scored_structures] + [_row(table.overall())],
        pictures=pictures,
        labels=store.labels,
        prediction=result.cases[0] if result.cases else None,
    )
    return path


def _row(summary: Summary) -> dict[str, str | float | None]:
    return {
        "structure": summary.name,
        "Dice": summary.dice.value,
        "HD95 (mm)": summary.hd95_mm.value,
        "surface Dice (1 mm)": summary.surface_dice.value,
        "missed": summary.missed,
    }
