"""last.pth and best.pth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook

from densekit.registry import HOOKS
from densekit.stopping import stop_if_asked


@HOOKS.register_module()
class BestAndLastHook(Hook):
    """Writes ``last.pth`` every ``interval`` epochs and ``best.pth`` when the validation score is the best so far.

    Of equal scores the later one is kept: a run that finds nothing yet has learned for longer by then.

    ``last.pth`` is also written before each validation, so that a run that ends within it is resumed with it, and after
    it, with the score. Without any validation ``best.pth`` is the last epoch (and the log says so).

    Args:
        interval: Epochs between two writings of ``last.pth``; the last epoch is always written.
        metric: Name of the validation score; higher is better.
        beside: Files of the work folder that the validation wrote; those of the best epoch are kept as ``best_<name>``.
    """

    priority = "VERY_LOW"

    def __init__(self, metric: str, interval: int = 1, beside: Sequence[str] = ()) -> None:
        self.interval = interval
        self.metric = metric
        self.beside = tuple(beside)
        self.best: float | None = None
        self.best_epoch: int | None = None

    def kept(self) -> str:
        """Which epoch ``best.pth`` is of, and its score, in words."""
        if self.best is None:
            return "the last epoch"
        if self.best == 0:
            return f"of epoch {self.best_epoch}, with {self.metric} 0: nothing has been learned that counts"
        return f"of epoch {self.best_epoch}, {self.metric} {self.best:.4f}"

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        if runner.train_loop.unvalidated or epoch % self.interval == 0 or epoch == runner.max_epochs:
            self._write(runner, "last.pth", epoch)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        stop_if_asked(f" in the validation of epoch {runner.epoch}")

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        score = (metrics or {}).get(self.metric)
        # A score that cannot be computed (NaN) is never the best one.
        improved = score is not None and score == score and (self.best is None or score >= self.best)
        if improved:
            self.best, self.best_epoch = float(score), runner.epoch
            said = f"best {self.metric} so far: {score:.4f}" if score else f"{self.metric} is 0 so far"
            runner.logger.info(f"{said} (epoch {runner.epoch}), written to best.pth")
            self._write(runner, "best.pth", runner.epoch)
            self._keep(Path(runner.work_dir))
        self._write(runner, "last.pth", runner.epoch)

    def after_train(self, runner) -> None:
        if self.best is None:
            runner.logger.info("no validation score to choose by: best.pth is the last epoch")
            self._write(runner, "best.pth", runner.epoch)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint["best_score"], checkpoint["best_epoch"] = self.best, self.best_epoch

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner.resuming:
            self.best, self.best_epoch = checkpoint.get("best_score"), checkpoint.get("best_epoch")
            if self.best is not None and not (Path(runner.work_dir) / "best.pth").is_file():
                runner.logger.warning(
                    f"best.pth is gone ({self.metric} {self.best:.4f}): the best of the epochs from here on is kept"
                )
                self.best = None

    @master_only
    def _write(self, runner, name: str, epoch: int) -> None:
        runner.write_checkpoint(Path(runner.work_dir) / name, epoch=epoch, resumable=name == "last.pth")

    @master_only
    def _keep(self, folder: Path) -> None:
        for name in self.beside:
            if (folder / name).is_file():
                (folder / name).replace(folder / f"best_{name}")
