"""What a network says of the class of each pixel, kept at its own resolution until it is asked for.

Brought to the image's size as a whole, the scores of 150 classes take 150 times the memory of a picture of floats. Here
they are brought to it a few classes (or rows) at a time: the memory needed does not grow with the number of classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""Height and width."""
Restore = Callable[[Tensor], Tensor]
"""Brings scores (B, k, H, W) of whichever classes to the grid that is wanted: cuts padding off, resizes."""

_VALUES = 1 << 22
"""Scores held at full size at a time."""
_LANES = 32
"""Channels of a group where torch computes several at a time: cut elsewhere, some would be rounded otherwise."""
_SMALL = 128
"""Height and width together, up to which torch does so whatever the layout."""
_FEWEST = 4
"""Fewer channels it interpolates in another way, so no group of more has fewer."""


class ClassScores(ABC):
    """Scores of each class at each pixel of a batch of B images."""

    num_classes: int

    @abstractmethod
    def __getitem__(self, index: int) -> ClassScores:
        """Those of one image, a batch of one."""

    @abstractmethod
    def at(self, size: Size, classes: slice) -> Tensor:
        """Scores of some classes at full size, float (B, k, H, W)."""

    def groups(self, size: Size) -> Iterator[slice]:
        """Classes to be brought to full size at a time."""
        return _groups(self.num_classes, max(_VALUES // (size[0] * size[1]), 1))

    def labels(self, size: Size, restore: Restore | None = None) -> Tensor:
        """The class of each pixel, equal to ``argmax(1)`` of the scores at full size: of equal ones the first.

        Args:
            size: Height and width to which the scores are interpolated.
            restore: Applied to them then.

        Returns:
            uint8 (B, H, W).
        """
        best = found = None
        for classes in self.groups(size):
            scores = self.at(size, classes)
            scores = scores if restore is None else restore(scores)
            if best is None:
                best, found = scores[:, 0].clone(), torch.zeros_like(scores[:, 0], dtype=torch.uint8)
            if scores.stride(1) == 1:  # channels last: each pixel's lie together
                score, place = scores.max(1)
                found = torch.where(score > best, (place + classes.start).to(torch.uint8), found)
                best = torch.maximum(best, score)
                continue
            for place in range(classes.start == 0, scores.shape[1]):
                score = scores[:, place]
                found.masked_fill_(score > best, classes.start + place)
                torch.maximum(best, score, out=best)
        return found

    def probabilities(self, size: Size, classes: Sequence[int] | None = None, restore: Restore | None = None) -> Tensor:
        """Probabilities of classes, of all together 1 at each pixel.

        Args:
            size: As for :meth:`labels`.
            classes: Which; None: all, with the memory that this takes.
            restore: As for :meth:`labels`.

        Returns:
            Float (B, k, H, W).
        """
        wanted = range(self.num_classes) if classes is None else classes
        finish = restore or (lambda scores: scores)
        total = None
        for group in self.groups(size):
            part = torch.logsumexp(finish(self.at(size, group)), 1)
            total = part if total is None else torch.logaddexp(total, part)
        one = (finish(self.at(size, slice(k, k + 1)))[:, 0] for k in wanted)
        return torch.stack([(score - total).exp_() for score in one], 1)


class DenseScores(ClassScores):
    """Logits of each class on a grid.

    Args:
        logits: Float (B, K, h, w).
        align_corners: How they are interpolated to full size, bilinearly: as the decoder's own are in training.
    """

    def __init__(self, logits: Tensor, align_corners: bool = False):
        self.logits, self.align_corners = logits, align_corners
        self.num_classes = logits.shape[1]
        self._last = not logits.is_contiguous() and logits.is_contiguous(memory_format=torch.channels_last)

    def __getitem__(self, index: int) -> DenseScores:
        return DenseScores(self.logits[index : index + 1], self.align_corners)

    def groups(self, size: Size) -> Iterator[slice]:
        most = max(_VALUES // (len(self.logits) * size[0] * size[1]), 1)
        # With channels last, and for small sizes, torch computes several channels at a time.
        lanes = _LANES if self._last or sum(size) <= _SMALL else 1
        return _groups(self.num_classes, -(-most // lanes) * lanes)

    def at(self, size: Size, classes: slice) -> Tensor:
        logits = self.logits[:, classes]
        if tuple(logits.shape[2:]) == tuple(size):
            return logits
        if self._last:
            logits = logits.contiguous(memory_format=torch.channels_last)
        return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=self.align_corners)


class QueryScores(ClassScores):
    """Masks, each with the probabilities of its class, as Mask2Former gives them.

    The score of a class at a pixel is the sum over the queries of ``P(class) * sigmoid(mask)``.

    Args:
        classes: Class probabilities (B, Q, K), without "no object".
        masks: Mask logits (B, Q, h, w), interpolated bilinearly to full size.
    """

    def __init__(self, classes: Tensor, masks: Tensor):
        self.classes, self.masks = classes, masks
        self.num_classes = classes.shape[2]

    def __getitem__(self, index: int) -> QueryScores:
        return QueryScores(self.classes[index : index + 1], self.masks[index : index + 1])

    def at(self, size: Size, classes: slice) -> Tensor:
        rows = self._bands(size)
        return torch.cat([torch.einsum("bqk,bqhw->bkhw", self.classes[..., classes], m) for m in rows], 2)

    def labels(self, size: Size, restore: Restore | None = None) -> Tensor:
        if restore is not None:
            return super().labels(size, restore)
        bands = (torch.einsum("bqk,bqhw->bkhw", self.classes, masks) for masks in self._bands(size))
        return torch.cat([band.argmax(1).to(torch.uint8) for band in bands], 1)

    def probabilities(self, size: Size, classes: Sequence[int] | None = None, restore: Restore | None = None) -> Tensor:
        """Shares of the scores: they are sums of probabilities, no logits."""
        wanted = list(range(self.num_classes) if classes is None else classes)
        whole = torch.stack([self.classes.sum(2), *(self.classes[..., k] for k in wanted)], 2)
        scores = torch.cat([torch.einsum("bqk,bqhw->bkhw", whole, masks) for masks in self._bands(size)], 2)
        scores = scores if restore is None else restore(scores)
        return scores[:, 1:] / scores[:, :1].clamp(min=torch.finfo(scores.dtype).tiny)

    def _bands(self, size: Size) -> Iterator[Tensor]:
        """Masks of full width, a few rows at a time."""
        (batch, queries, height, _), (rows, columns) = self.masks.shape, size
        most = max(_VALUES // (batch * (queries + self.num_classes) * columns), 1)
        y = ((torch.arange(rows, device=self.masks.device) + 0.5) * (height / rows) - 0.5).clamp(min=0)
        low = y.floor().long()
        high, share = (low + 1).clamp(max=height - 1), (y - low).to(self.masks.dtype)[:, None]
        for part in torch.arange(rows, device=y.device).split(most):
            above, below = self.masks[:, :, low[part]], self.masks[:, :, high[part]]
            mixed = above * (1 - share[part]) + below * share[part]
            yield F.interpolate(mixed, (len(part), columns), mode="bilinear", align_corners=False).sigmoid_()


def _groups(classes: int, most: int) -> Iterator[slice]:
    """Classes in groups of about ``most``, so that torch interpolates each as it does all of them."""
    most = most if most < _FEWEST - 1 < classes - 1 else max(most, _FEWEST)
    starts = list(range(0, classes, most))
    if len(starts) > 1 and most >= _FEWEST > classes - starts[-1]:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], classes], strict=True):
        yield slice(start, stop)
