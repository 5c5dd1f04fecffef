"""The scores of one case: Dice, HD95 and normalized surface Dice per structure, with a named rule for empty masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densekit.errors import ConfigError, DataError, close_names
from densekit.evaluation.volume.surface import hausdorff95, normalized_surface_dice, surface_distances, surface_voxels

_SITUATIONS = {(True, True): "both", (False, True): "missed", (True, False): "spurious", (False, False): "absent"}
"""By whether a structure is predicted, and whether it is there."""
EMPTY_MASKS: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "transunet": {"missed": (0.0, 0.0), "spurious": (1.0, 0.0), "absent": (0.0, 0.0)},
    "nnformer": {"missed": (0.0, 0.0), "spurious": (0.0, 0.0), "absent": (1.0, 0.0)},
    "strict": {"missed": (0.0, None), "spurious": (0.0, None), "absent": (None, None)},
}
"""(Dice, HD95) of a structure with an empty mask, by convention and situation; None: undefined, left out of the mean.

The published numbers of the two lines were made with ``transunet`` and ``nnformer``: the first rewards a structure
predicted where there is none, both give a missed structure a perfect HD95. Surface Dice is 0 for missed and spurious
and undefined for absent in all three (MONAI's rule; neither line reports it).
"""


@dataclass(frozen=True, kw_only=True)
class StructureScore:
    """What one structure scored in one case. A value that is not defined, or was not computed, is None.

    Attributes:
        case: Case id.
        structure: Class name.
        situation: ``"both"`` masks have voxels, ``"missed"`` (prediction empty), ``"spurious"`` (reference empty) or
            ``"absent"`` (both empty).
        dice: 2 |P and G| / (|P| + |G|), in [0, 1].
        hd95_voxel: HD95 in voxels of the grid that was scored: the literature's "mm" if that is the grid of the scan.
        hd95_mm: HD95 in mm.
        surface_dice: Normalized surface Dice at ``tolerance_mm``, in [0, 1].
        prediction_voxels, reference_voxels: Sizes in voxels.
        prediction_ml, reference_ml: Sizes in ml.
        spacing_mm: Voxel size (D, H, W) of the grid that was scored.
        scored: Whether the structure enters the mean over structures.
        convention: Rule for empty masks, a key of ``EMPTY_MASKS``.
        tolerance_mm: Tolerance of the surface Dice; None if surface distances were not computed.
    """

    case: str
    structure: str
    situation: str
    dice: float | None
    hd95_voxel: float | None
    hd95_mm: float | None
    surface_dice: float | None
    prediction_voxels: int
    reference_voxels: int
    prediction_ml: float
    reference_ml: float
    spacing_mm: tuple[float, float, float]
    scored: bool
    convention: str
    tolerance_mm: float | None


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    case_id: str,
    labels: Sequence[str],
    scored: Sequence[str] | None = None,
    spacing: Sequence[float],
    convention: str = "strict",
    surface: bool = True,
    tolerance_mm: float = 1.0,
) -> list[StructureScore]:
    """Score a predicted label map of one case, every class but the background.

    Args:
        prediction: Label map ``(D, H, W)`` of integers.
        reference: Label map on the same grid.
        case_id: Name of the case in scores and messages.
        labels: Class names by label value, ``labels[0]`` the background.
        scored: Classes that enter the mean over structures (default: all but the background); the others
            get scores too.
        spacing: Voxel size (D, H, W) in mm.
        convention: Rule for empty masks: ``"transunet"``, ``"nnformer"`` or ``"strict"``.
        surface: Whether to compute HD95 and surface Dice, which take longer than Dice.
        tolerance_mm: Tolerance of the surface Dice.

    Returns:
        One score per class, in the order of ``labels[1:]``.

    Raises:
        DataError: If the label maps differ in shape, are not integer ``(D, H, W)`` or hold values outside
            ``labels``, or the spacing is not three positive numbers.
        ConfigError: If labels, scored, convention or tolerance cannot be right.
    """
    in_mean = check_settings(labels, scored, convention, tolerance_mm)
    prediction, reference = np.asarray(prediction), np.asarray(reference)
    _check_maps(prediction, reference, case_id, labels)
    size = _check_spacing(spacing, case_id)
    voxel_ml = math.prod(size) / 1000.0
    counts = confusion_counts(prediction, reference, len(labels))
    distances = _surface_scores(prediction, reference, counts, size, tolerance_mm) if surface else {}

    scores = []
    for value, name in enumerate(labels[1:], start=1):
        predicted, true, common = int(counts[:, value].sum()), int(counts[value].sum()), int(counts[value, value])
        situation = _SITUATIONS[predicted > 0, true > 0]
        if situation == "both":
            dice = 2 * common / (predicted + true)
            voxel, mm, surface_dice = distances.get(value, (None, None, None))
        else:
            dice, empty = EMPTY_MASKS[convention][situation]
            voxel = mm = empty if surface else None
            surface_dice = 0.0 if surface and situation != "absent" else None
        scores.append(
            StructureScore(
                case=case_id,
                structure=name,
                situation=situation,
                dice=dice,
                hd95_voxel=voxel,
                hd95_mm=mm,
                surface_dice=surface_dice,
                prediction_voxels=predicted,
                reference_voxels=true,
                prediction_ml=predicted * voxel_ml,
                reference_ml=true * voxel_ml,
                spacing_mm=size,
                scored=name in in_mean,
                convention=convention,
                tolerance_mm=tolerance_mm if surface else None,
            )
        )
    return scores


def check_settings(
    labels: Sequence[str], scored: Sequence[str] | None, convention: str, tolerance_mm: float
) -> tuple[str, ...]:
    """Check what is the same for every case of an evaluation, and return the names that enter the mean over structures.

    Raises:
        ConfigError: If there is no class beside the background, a class name appears twice, ``scored`` is empty or
            holds a name that is not a foreground class, the convention is unknown, or the tolerance is not a
            number >= 0.
    """
    names = tuple(labels)
    if isinstance(labels, str) or len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"labels={labels!r} must list the background and at least one structure, each name once, by label value"
        )
    if convention not in EMPTY_MASKS:
        raise ConfigError(
            f"convention={convention!r} is not a rule for empty masks{close_names(str(convention), EMPTY_MASKS)}; "
            f"choose one of {', '.join(EMPTY_MASKS)}"
        )
    if not (isinstance(tolerance_mm, int | float) and math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise ConfigError(f"tolerance_mm={tolerance_mm!r} must be a number of mm >= 0")
    if scored is None:
        return names[1:]
    if isinstance(scored, str) or not scored:
        raise ConfigError(f"scored={scored!r} must list at least one of the structures {', '.join(names[1:])}")
    for name in scored:
        if name not in names[1:]:
            raise ConfigError(
                f"scored: {name!r} is not a structure{close_names(name, names[1:])}; choose from {', '.join(names[1:])}"
            )
    return tuple(scored)


def confusion_counts(prediction: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    """Count the voxels of every pair (reference class, predicted class).

    Args:
        prediction: Label map ``(D, H, W)`` of integers in ``[0, classes)``.
        reference: Label map of the same shape and range.
        classes: Number of classes, background included.

    Returns:
        Counts ``(classes, classes)`` int64, ``counts[r, p]``; row sums are the sizes in the reference, column sums
        those in the prediction.
    """
    counts = np.zeros(classes * classes, dtype=np.int64)
    # Slice by slice: the index of a whole scan would need eight bytes a voxel.
    for predicted, truth in zip(prediction, reference, strict=True):
        pairs = truth.astype(np.intp).ravel() * classes + predicted.astype(np.intp).ravel()
        counts += np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _check_maps(prediction: np.ndarray, reference: np.ndarray, case: str, labels: Sequence[str]) -> None:
    if prediction.shape != reference.shape:
        raise DataError(
            f"case {case}: prediction has shape {prediction.shape} and reference {reference.shape} (D, H, W); both "
            f"must lie on one grid: restore the prediction to the grid of the reference before scoring"
        )
    if reference.ndim != 3 or reference.size == 0:
        raise DataError(
            f"case {case}: label maps have shape {reference.shape}; expected three axes (D, H, W), none empty"
        )
    for role, array in (("prediction", prediction), ("reference", reference)):
        if array.dtype.kind not in "iub":
            raise DataError(
                f"case {case}: {role} has type {array.dtype}; expected integer label values (not probabilities)"
            )
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= len(labels):
            raise DataError(
                f"case {case}: {role} has label value {low if low < 0 else high}, but the class list ends at "
                f"{len(labels) - 1} ({labels[-1]}); check the class list and the label encoding"
            )


def _check_spacing(spacing: Sequence[float], case: str) -> tuple[float, float, float]:
    size = tuple(float(v) for v in spacing)
    if len(size) != 3 or not all(math.isfinite(v) and v > 0 for v in size):
        raise DataError(f"case {case}: spacing {size} must be three voxel sizes (D, H, W) in mm, each above 0")
    return size


def _surface_scores(
    prediction: np.ndarray,
    reference: np.ndarray,
    counts: np.ndarray,
    size: tuple[float, float, float],
    tolerance_mm: float,
) -> dict[int, tuple[float, float, float]]:
    """(HD95 in voxels, HD95 in mm, surface Dice) by label value, of the structures that both label maps have."""
    from scipy.ndimage import find_objects

    boxes = zip(find_objects(prediction, len(counts) - 1), find_objects(reference, len(counts) - 1), strict=True)
    scores = {}
    for value, (predicted, true) in enumerate(boxes, start=1):
        if predicted is None or true is None:
            continue
        # Everything outside the joint box is background in both masks, so nothing is lost by leaving it out.
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(predicted, true, strict=True))
        surfaces = surface_voxels(prediction[box] == value), surface_voxels(reference[box] == value)
        in_mm = surface_distances(*surfaces, size)
        scores[value] = (
            hausdorff95(surface_distances(*surfaces)),
            hausdorff95(in_mm),
            normalized_surface_dice(in_mm, tolerance_mm),
        )
    return scores
