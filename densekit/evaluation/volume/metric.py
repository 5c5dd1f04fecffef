"""Volume scores for MMEngine's evaluation loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from densekit.errors import DataError
from densekit.evaluation.volume.score import StructureScore, check_settings, score_case
from densekit.evaluation.volume.table import ScoreTable
from densekit.registry import METRICS


@METRICS.register_module()
class VolumeMetric(BaseMetric):
    """Dice, and on request HD95 and surface Dice, of whole predicted volumes.

    Scores are on the grid that the samples are on. In training that is each scan's own, so they are those of
    ``densekit test``: see :class:`densekit.inference.volume.validation.VolumeValLoop`, which feeds it.

    Attributes:
        last_table: Scores of the last evaluation, on the main process (elsewhere None).

    Args:
        labels, scored, convention, surface, tolerance_mm: See :func:`~densekit.evaluation.volume.score_case`.
        collect_device, collect_dir: How results travel between processes; see MMEngine's BaseMetric.
        prefix: Put before the names of the metrics; without one the mean Dice is ``"dice"``, the key for
            ``save_best``.

    Raises:
        ConfigError: If the settings cannot be right.
    """

    default_prefix = ""  # not None: MMEngine warns about a metric that sets none

    def __init__(
        self,
        labels: Sequence[str],
        scored: Sequence[str] | None = None,
        convention: str = "strict",
        surface: bool = False,
        tolerance_mm: float = 1.0,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.settings = {
            "labels": tuple(labels),
            "scored": check_settings(labels, scored, convention, tolerance_mm),
            "convention": convention,
            "surface": surface,
            "tolerance_mm": tolerance_mm,
        }
        self.last_table: ScoreTable | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score the volumes of a batch.

        One result per sample: that is how MMEngine recognises the samples which a distributed sampler repeated.

        Args:
            data_batch: Not used.
            data_samples: Per sample ``prediction`` and ``label`` ``(D, H, W)``, ``case_id``, ``spacing`` (D, H, W)
                in mm.

        Raises:
            DataError: If a sample lacks one of these, or its label maps cannot be compared.
        """
        for sample in data_samples:
            missing = [key for key in ("prediction", "label", "case_id", "spacing") if sample.get(key) is None]
            if missing:
                raise DataError(
                    f"case {sample.get('case_id')}: sample has no {', '.join(missing)}; "
                    f"only a case with a reference and a spacing can be scored"
                )
            self.results.append(
                score_case(
                    np.asarray(sample["prediction"]),
                    np.asarray(sample["label"]),
                    case_id=sample["case_id"],
                    spacing=[float(v) for v in sample["spacing"]],
                    **self.settings,
                )
            )

    def compute_metrics(self, results: list[list[StructureScore]]) -> dict[str, float]:
        """Average the scores of all cases and keep them in ``last_table``.

        Returns:
            ``dice`` (mean over scored structures; NaN if nothing is defined), ``dice/<structure>`` where defined, the
            numbers of case-structure pairs ``missed`` and ``spurious`` among the scored; with ``surface`` also
            ``hd95_voxel``, ``hd95_mm`` and ``surface_dice`` where defined.
        """
        self.last_table = table = ScoreTable(score for case in results for score in case)
        overall = table.overall()
        metrics: dict[str, float | None] = {"dice": overall.dice.value}
        metrics |= {f"dice/{name}": table.structure(name).dice.value for name in table.structures}
        metrics |= {"missed": overall.missed, "spurious": overall.spurious}
        if self.settings["surface"]:
            metrics |= {key: getattr(overall, key).value for key in ("hd95_voxel", "hd95_mm", "surface_dice")}
        defined = {key: value for key, value in metrics.items() if value is not None}
        # A best-checkpoint hook asks for this key by name; no comparison with NaN makes a checkpoint the best.
        return {"dice": float("nan")} | defined
