"""Validation pictures of volumes: image, prediction and reference side by side."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook

from densekit.visualization.volume.montage import ValidationRow, validation_picture


class ValidationPictureHook(Hook):
    """Writes ``pictures/epoch_NNNN.png``: image, prediction and reference of the first validation cases.

    Args:
        names: Class names by label value.
        cases: How many cases the picture shows, a row each.
    """

    priority = "LOW"

    def __init__(self, names: list[str], cases: int = 4) -> None:
        self.names = names
        self.cases = cases
        self._shown: list[ValidationRow] = []

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        for result in outputs or []:
            if is_main_process() and len(self._shown) < self.cases:
                case = result["case"]  # drawn on the network's grid, which is where its image is
                self._shown.append(
                    ValidationRow.draw(
                        case_id=case.id,
                        image=case.image[0],
                        prediction=case.spatial(case.image).labels_to_network(result["prediction"]),
                        reference=case.label,
                        spacing=case.spacing,
                    )
                )

    @master_only
    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        if self._shown:
            folder = Path(runner.work_dir) / "pictures"
            folder.mkdir(exist_ok=True)
            title = f"epoch {runner.epoch}, mean Dice {(metrics or {}).get('dice', float('nan')):.3f}"
            validation_picture(folder / f"epoch_{runner.epoch:04d}.png", self._shown, names=self.names, title=title)
        self._shown = []
