"""Validation during training, by the way of ``densekit test``: the same label maps, compared on the same grids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.runner import ValLoop

from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.datasets.volume.stored import StoredCase
from densekit.inference.volume.predictor import VolumePredictor
from densekit.progress import Lines
from densekit.registry import LOOPS
from densekit.stopping import stop_if_asked


@LOOPS.register_module()
class VolumeValLoop(ValLoop):
    """Predicts validation cases as a user's scans will be, so that their scores are those of ``densekit test``.

    Network input is the prepared array: reading the scan's file again would give the same one. What comes out is a
    label map on the scan's own grid; it is compared with the reference there.

    Args:
        runner: A densekit Runner; preprocessing, labels and window settings are those its checkpoints will carry.
        dataloader: Of a :class:`~densekit.datasets.volume.dataset.VolumeDataset`, collated to lists.
        evaluator: With a :class:`~densekit.evaluation.volume.VolumeMetric`.
    """

    def run(self) -> dict[str, float]:
        """Predict and score all cases; of several processes each predicts its share.

        Raises:
            DataError: if a reference cannot be read any more, or the network's scores are NaN or infinite.
        """
        described, model = self.runner.described, self.runner.bare_model()
        self.predictor = VolumePredictor(
            model,
            Preprocessing.from_dict(described["preprocessing"]),
            described["labels"],
            described["inference"],
            device=next(model.parameters()).device,
        )
        self._lines, self._done = Lines(self.runner.logger.info), 0
        return super().run()

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Mapping[str, Any]) -> None:
        """Predict the cases of a batch.

        Hooks and metrics get of each case a dict: ``prediction`` and ``label`` ``(D, H, W)`` and ``spacing`` in mm, all
        on the scan's own grid, ``case_id``, and ``case``, the stored one.
        """
        self.runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        self._done = idx
        samples = data_batch["data_samples"]
        outputs = [
            {"prediction": self._label_map(image, case_id), "label": label.numpy(), "spacing": spacing}
            | {"case_id": case_id, "case": self._case(case_id)}
            for image, label, spacing, case_id in zip(
                data_batch["inputs"], samples["label"], samples["spacing"], samples["case_id"], strict=True
            )
        ]
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook("after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _case(self, case_id: str) -> StoredCase:
        return self.dataloader.dataset.store.case(case_id)

    def _label_map(self, image: torch.Tensor, case_id: str) -> np.ndarray:
        case = self._case(case_id)
        return self.predictor.label_map(
            case.spatial(image.numpy()),
            case.statistics,
            name=f"validation case {case_id}",
            present=case.channels_present,
            progress=self._windows,
        )

    def _windows(self, done: int, total: int) -> None:
        """Called with (windows done, windows in all) of a case."""
        stop_if_asked(f" in the validation of epoch {self.runner.epoch}")
        cases = len(self.dataloader)
        words = f"validation of epoch {self.runner.epoch}: case {self._done + 1} of {cases}, window {done} of {total}"
        self._lines(self._done + done / total, cases, words)
