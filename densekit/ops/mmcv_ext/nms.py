"""Non-maximum suppression: hard, soft, by class, and with the suppressed boxes grouped.

Boxes are ``(x1, y1, x2, y2)`` in pixels. ``offset`` 1 counts the last pixel as inside a box (width ``x2 - x1 + 1``), as
old configs of MMDetection want it. Equal scores keep the order of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision.ops
from torch import Tensor

from densekit.errors import ConfigError, close_names
from densekit.ops.mmcv_ext.missing import missing_operator

SOFT_METHODS = ("naive", "linear", "gaussian")
# Boxes that one call of torchvision's kernel takes. It compares each box with every better one: on a CPU one by one, so
# classes share a call only while they are small; on a GPU all at once, with N * N / 8 bytes of memory.
BOXES_PER_CALL = {"cpu": 256}
BOXES_PER_CALL_ON_GPU = 25_000


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """The boxes that no better kept box overlaps by more than ``iou_threshold``.

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        iou_threshold: Intersection over union above which the lower score goes.
        offset: 0 or 1, see above.

    Returns:
        ``(K,)`` int64 indices, best score first.
    """
    boxes = _widened(boxes, offset).double()
    return torchvision.ops.nms(boxes, scores.double(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al. 2017, arXiv:1704.04503): overlapping boxes lose score instead of vanishing.

    Args:
        boxes: ``(N, 4)`` on the CPU, where mmcv brings them.
        scores: ``(N,)``.
        dets: ``(N, 5)``, written: the first K rows become the kept boxes with their new scores.
        iou_threshold: Overlap from which the naive and the linear method lower a score.
        sigma: Width of the Gaussian method.
        min_score: A box that falls below it is dropped.
        method: 0 naive (score 0), 1 linear (times ``1 - IoU``), 2 Gaussian (times ``exp(-IoU^2 / sigma)``).
        offset: 0 or 1, see above.

    Returns:
        ``(K,)`` int64 indices, in the order of the new scores.
    """
    keep, new_scores = _soft_nms(boxes, scores, iou_threshold, sigma, min_score, SOFT_METHODS[method], offset)
    dets[: len(keep), :4] = boxes[keep]
    dets[: len(keep), 4] = new_scores
    return keep


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes that suppress each other; here an overlap *equal* to the threshold already counts.

    Args:
        dets: ``(N, 5)``, boxes and scores.
        iou_threshold: Intersection over union from which a box joins the group of a better one.

    Returns:
        For every kept box, best first, its index and then those of the boxes it suppresses, best first.
    """
    boxes, scores = dets[:, :4], dets[:, 4]
    rest = scores.sort(descending=True, stable=True).indices.cpu().numpy()
    boxes = boxes.detach().double().cpu().numpy()
    groups = []
    while len(rest):
        joined = _overlap(boxes[rest[0]], boxes[rest]) >= iou_threshold
        joined[0] = True  # a box without area does not overlap itself
        groups.append(rest[joined].tolist())
        rest = rest[~joined]
    return groups


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: dict | None, class_agnostic: bool = False
) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression within each class (or level, or image), by a config as MMDetection's models hold it.

    Unlike mmcv's, ``class_agnostic`` holds for any number of boxes, and classes stay apart wherever the boxes lie.

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        idxs: ``(N,)``, the class of each box.
        nms_cfg: ``type`` ("nms", the default, or "soft_nms"), ``iou_threshold``, and optionally ``class_agnostic``,
            ``max_num`` (boxes kept over all classes), ``offset``; for "nms" ``score_threshold``; for "soft_nms"
            ``sigma``, ``min_score``, ``method``. ``split_thr`` is accepted and not needed. None: only sort by score.
        class_agnostic: Whether boxes of different classes suppress each other; a value in ``nms_cfg`` wins.

    Returns:
        ``(K, 5)`` boxes with (new) scores, best first, and ``(K,)`` their indices.

    Raises:
        ConfigError: for a type or key that is not known, or without ``iou_threshold`` for "nms".
        MissingOperatorError: for rotated and quadrilateral boxes.
    """
    if nms_cfg is None:
        scores, keep = scores.sort(descending=True, stable=True)
        return torch.cat([boxes[keep], scores[:, None]], -1), keep
    suppress, options = _read_config(nms_cfg)
    max_num = options.pop("max_num", -1)
    options.pop("split_thr", None)
    if options.pop("class_agnostic", class_agnostic):
        idxs = torch.zeros_like(idxs)
    keep, scores = suppress(boxes, scores, idxs, **options)
    if max_num > 0:
        keep, scores = keep[:max_num], scores[:max_num]
    return torch.cat([boxes[keep], scores[:, None]], -1), keep


def _read_config(nms_cfg: dict) -> tuple[Callable[..., tuple[Tensor, Tensor]], dict]:
    """The function for a config, and the config's other entries, checked."""
    options = dict(nms_cfg)
    kind = options.pop("type", "nms")
    kind = kind if isinstance(kind, str) else kind.__name__
    if kind in ("nms_rotated", "nms_quadri"):
        raise missing_operator(kind)
    if kind not in SUPPRESS:
        raise ConfigError(f"nms config: type={kind!r} is not one of {', '.join(SUPPRESS)}{close_names(kind, SUPPRESS)}")
    if "iou_thr" in options:
        options["iou_threshold"] = options.pop("iou_thr")
    suppress, keys = SUPPRESS[kind]
    for key in options:
        if key not in keys:
            raise ConfigError(f"nms config: {kind} takes no {key!r}{close_names(key, keys)}; known: {', '.join(keys)}")
    if kind == "nms" and "iou_threshold" not in options:
        raise ConfigError("nms config: iou_threshold is missing, e.g. dict(type='nms', iou_threshold=0.5)")
    return suppress, options


def _hard_by_class(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float, offset: int = 0, score_threshold: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Indices kept and their scores, best first."""
    candidates = torch.arange(len(scores), device=scores.device)
    if score_threshold > 0:
        candidates = (scores > score_threshold).nonzero().squeeze(1)
    boxes = _apart(_widened(boxes, offset)[candidates], idxs[candidates])
    keep = [
        part[torchvision.ops.nms(boxes[part], scores[candidates[part]].double(), iou_threshold)]
        for part in _groups(idxs[candidates])
    ]
    # In the order of the input before the stable sort, so that equal scores keep it.
    keep = candidates[torch.cat(keep).sort().values] if keep else candidates
    order = scores[keep].sort(descending=True, stable=True).indices
    return keep[order], scores[keep[order]]


def _soft_by_class(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    iou_threshold: float = 0.3,
    offset: int = 0,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
) -> tuple[Tensor, Tensor]:
    """Indices kept and their new scores, best first; on the CPU, since each step waits for the one before."""
    if method not in SOFT_METHODS:
        raise ConfigError(
            f"nms config: method={method!r} is not one of {', '.join(SOFT_METHODS)}{close_names(method, SOFT_METHODS)}"
        )
    boxes_there, scores_there, idxs_there = boxes.detach().cpu(), scores.detach().cpu(), idxs.cpu()
    keep, new_scores = [idxs_there.new_empty(0, dtype=torch.int64)], [scores_there.new_empty(0)]
    for part in _groups(idxs_there, boxes_per_call=1):
        kept, weighed = _soft_nms(
            boxes_there[part], scores_there[part], iou_threshold, sigma, min_score, method, offset
        )
        keep.append(part[kept])
        new_scores.append(weighed)
    new_scores, order = torch.cat(new_scores).sort(descending=True, stable=True)
    # Each class has kept its best box, however low; of all boxes only the best stays in any case, as in mmcv.
    count = max(int((new_scores >= min_score).sum()), min(1, len(new_scores)))
    new_scores, order = new_scores[:count], order[:count]
    return torch.cat(keep)[order].to(boxes.device), new_scores.to(scores.device)


COMMON_KEYS = ("iou_threshold", "class_agnostic", "max_num", "split_thr", "offset")
SUPPRESS: dict[str, tuple[Callable[..., tuple[Tensor, Tensor]], tuple[str, ...]]] = {
    "nms": (_hard_by_class, (*COMMON_KEYS, "score_threshold")),
    "soft_nms": (_soft_by_class, (*COMMON_KEYS, "sigma", "min_score", "method")),
}


def _groups(idxs: Tensor, boxes_per_call: int | None = None) -> Iterator[Tensor]:
    """Indices of the boxes, class after class, several classes together while they are small: one call each."""
    limit = boxes_per_call or BOXES_PER_CALL.get(idxs.device.type, BOXES_PER_CALL_ON_GPU)
    if 0 < len(idxs) <= limit:
        yield torch.arange(len(idxs), device=idxs.device)
        return
    order = idxs.sort(stable=True).indices
    start = stop = 0
    for count in torch.unique_consecutive(idxs[order], return_counts=True)[1].tolist():
        if stop > start and stop + count - start > limit:
            yield order[start:stop]
            start = stop
        stop += count
    if stop > start:
        yield order[start:stop]


def _apart(boxes: Tensor, idxs: Tensor) -> Tensor:
    """The boxes moved so that those of different classes cannot meet, in float64, so that they keep their digits."""
    # One box at infinity must not take the others with it.
    boxes = torch.nan_to_num(boxes.double(), nan=0.0, posinf=1e9, neginf=-1e9)
    if len(boxes) == 0:
        return boxes
    boxes = boxes - boxes.min()
    return boxes + (idxs.double() * (boxes.max() + 1))[:, None]


def _widened(boxes: Tensor, offset: int) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, 2:] + offset], 1) if offset else boxes


def _soft_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, sigma: float, min_score: float, method: str, offset: int
) -> tuple[Tensor, Tensor]:
    """Soft-NMS of one class on the CPU: indices in the order of their new scores, and these."""
    corners = _widened(boxes.detach().double(), offset).numpy()
    rest, left = np.arange(len(scores)), scores.detach().double().numpy().copy()
    keep, new_scores = [], []
    while len(rest):
        best = int(left.argmax())
        keep.append(rest[best])
        new_scores.append(left[best])
        overlap = _overlap(corners[rest[best]], corners[rest])
        if method == "gaussian":
            left = left * np.exp(-(overlap**2) / sigma)
        else:
            left = np.where(overlap >= iou_threshold, left * (1 - overlap if method == "linear" else 0.0), left)
        stays = left >= min_score
        stays[best] = False
        rest, left = rest[stays], left[stays]
    return torch.as_tensor(np.array(keep, dtype=np.int64)), torch.as_tensor(np.array(new_scores)).to(scores.dtype)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (N, 4); 0 where neither has an area."""
    size = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    inside = size[:, 0] * size[:, 1]
    union = (box[2] - box[0]) * (box[3] - box[1]) + (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
