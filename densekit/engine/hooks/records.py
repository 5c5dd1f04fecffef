"""What a run leaves to look at: scalars.csv and curves."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook

from densekit.io import write_text_atomic
from densekit.registry import HOOKS
from densekit.visualization.shared.curves import ScoreCurve, write_curves

COLUMNS = ("step", "epoch", "split", "name", "value")


@HOOKS.register_module()
class CsvLogHook(Hook):
    """Writes ``scalars.csv`` (columns step, epoch, split, name, value) and draws ``curves.png`` from it.

    A resumed run drops the rows that lie after the point it resumes from, or will be written again there, so the file
    reads as one run.

    Args:
        names: Class names by label value, for the colours of the curves.
        score: What the run is judged by.
        interval: Iterations between two rows of the training scalars (their mean over the interval).
    """

    priority = "BELOW_NORMAL"

    def __init__(self, names: list[str], score: ScoreCurve, interval: int = 50) -> None:
        self.names, self.score = names, score
        self.interval = interval
        self._sums: dict[str, list[float]] = {}

    def before_train(self, runner) -> None:
        if not is_main_process():
            return
        self.path = Path(runner.work_dir) / "scalars.csv"
        kept, again = [], {"train"} if self._sums else set()
        if runner.train_loop.unvalidated:
            again.add("val")
        if runner.resuming and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                # the last row of a killed run may be cut short
                kept = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdigit()]

        def stays(row: list[str]) -> bool:
            return int(row[0]) < runner.iter or (int(row[0]) == runner.iter and row[2] not in again)

        text = io.StringIO(newline="")
        csv.writer(text).writerows([COLUMNS, *(row for row in kept if stays(row))])
        write_text_atomic(self.path, text.getvalue())

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        for name, value in (outputs or {}).items():
            self._sums.setdefault(name, []).append(float(value.detach()))
        if (runner.iter + 1) % self.interval == 0:
            self._write_means(runner, runner.iter + 1, runner.epoch + 1)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner.iter, runner.epoch, "val", metrics or {})
        self._draw(runner)

    def after_train(self, runner) -> None:
        if self._sums:  # iterations after the last whole interval
            self._write_means(runner, runner.iter, runner.epoch)
        self._draw(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint["scalars"] = self._sums

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner.resuming:
            self._sums = checkpoint.get("scalars", {})

    def _write_means(self, runner, step: int, epoch: int) -> None:
        scalars = {name: float(np.mean(values)) for name, values in self._sums.items()}
        scalars["lr"] = runner.optim_wrapper.get_lr()["lr"][0]
        self._sums.clear()
        self._write(step, epoch, "train", scalars)

    @master_only
    def _write(self, step: int, epoch: int, split: str, scalars: dict[str, float]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, epoch, split, name, f"{value:.6g}"] for name, value in scalars.items())

    @master_only
    def _draw(self, runner) -> None:
        write_curves(self.path, Path(runner.work_dir) / "curves.png", score=self.score, names=self.names)
