"""The training loop: epochs that can be stopped and continued within, and validated after last.pth is written."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from densekit.engine.hooks.buffers import AverageBuffersHook
from densekit.registry import LOOPS
from densekit.stopping import Stopped, asked_to_stop


@LOOPS.register_module()
class TrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which can also begin within an epoch, or with the validation of the last one.

    A run that is asked to stop (:mod:`densekit.stopping`) writes last.pth after the next step of the optimizer and ends
    there. Continued, it equals the run that was not stopped, bit for bit where the kernels are deterministic, because
    nothing that it depends on is lost:

    * the samples of an epoch follow from seed, epoch and place: the batches that are done are passed over, not read;
    * random numbers inside the network are a function of the iteration (StatelessSeedHook);
    * weights, optimizer, schedules, the scale of fp16 losses and the moving average are in last.pth;
    * gradients that ``accumulate`` collects are none after a step, and an epoch ends with one.

    Of several processes all stop after the same iteration. Their running statistics of batch norms are averaged then,
    and again at the end of the epoch; in exact arithmetic that gives what averaging once does.

    Attributes:
        batch: Batches done in the epoch at hand.
        unvalidated: The epoch that last.pth holds is still to be validated.
    """

    batch = 0
    unvalidated = False

    def run(self) -> torch.nn.Module:
        """Train to the last epoch.

        Raises:
            Stopped: if the run was asked to stop; last.pth is written.
        """
        self.runner.call_hook("before_train")
        if self.unvalidated:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._stop_if_asked()
            self._decide_current_val_interval()
            if self.unvalidated:
                self._validate()
        self.runner.call_hook("after_train")
        return self.runner.model

    def _validate(self) -> None:
        self.unvalidated = False  # which the last.pth that is written at its end will say
        self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """Go through what is left of an epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for data in _after(self.dataloader, self.batch):
            self.run_iter(self.batch, data)
            self.batch += 1
            if self.batch < len(self.dataloader):
                self._stop_if_asked()
        self.batch = 0
        self.unvalidated = self._validates()
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _validates(self) -> bool:
        epoch = self._epoch + 1
        return self.runner.val_loop is not None and (epoch % self.val_interval == 0 or epoch == self._max_epochs)

    def _stop_if_asked(self) -> None:
        if not self.runner.optim_wrapper.should_update():
            return
        asked = torch.tensor(asked_to_stop() or 0)
        all_reduce(asked, "max")  # a signal reaches each process in another iteration
        if not asked:
            return
        if self.runner.distributed and self.batch:
            AverageBuffersHook().after_train_epoch(self.runner)
        folder = Path(self.runner.work_dir)
        if is_main_process():
            self.runner.write_checkpoint(folder / "last.pth", epoch=self._epoch)
        barrier()  # a launcher ends all processes when the first has gone: not before the file is there
        place = f" after epoch {self._epoch} of {self._max_epochs}"
        if self.batch:
            done = f"{self.batch} of its {len(self.dataloader)} iterations"
            place = f" in epoch {self._epoch + 1} of {self._max_epochs}, after {done}"
        raise Stopped(int(asked), place, folder)


def _after(loader: DataLoader, done: int) -> DataLoader:
    """The batches of an epoch without the first ones, which are not read."""
    if not done:
        return loader
    return DataLoader(
        loader.dataset,
        batch_sampler=list(loader.batch_sampler)[done:],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
    )
