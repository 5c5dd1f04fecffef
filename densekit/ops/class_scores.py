"""What a network says of the class of each pixel, kept at its own resolution until it is asked for.

Brought to the image's size as a whole, the scores of 150 classes take 150 times the memory of a picture of floats. Here
they are brought to it a few classes (or rows) at a time: the memory needed does not grow with the number of classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce

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
    additive: bool = False
    """Whether scores are probabilities, or sums of them; otherwise they are logits."""

    @abstractmethod
    def __getitem__(self, images: slice) -> ClassScores:
        """Those of some images of the batch."""

    @abstractmethod
    def at(self, size: Size, classes: slice) -> Tensor:
        """Scores of some classes at full size, float (B, k, H, W)."""

    @abstractmethod
    def groups(self, size: Size, pixels: int = 0) -> Iterator[slice]:
        """Classes to be brought to a size at a time; each is held at ``pixels``, or as many as the size has."""

    def labels(self, size: Size, restore: Restore | None = None) -> Tensor:
        """The class of each pixel, equal to ``argmax(1)`` of the scores at full size: of equal ones the first.

        Args:
            size: Height and width to which the scores are interpolated.
            restore: Applied to them then.

        Returns:
            uint8 (B, H, W).
        """
        return first_largest((group, self._at(size, group, restore)) for group in self.groups(size))

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
        total = self.total(size, restore)
        return torch.cat([self.shares(size, slice(k, k + 1), total, restore) for k in wanted], 1)

    def total(self, size: Size, restore: Restore | None = None) -> Tensor:
        """What makes scores probabilities, (B, 1, H, W): their sum, or the logarithm of the sum of their powers."""
        add, sum_up = (torch.add, torch.sum) if self.additive else (torch.logaddexp, torch.logsumexp)
        parts = (sum_up(self._at(size, group, restore), 1, keepdim=True) for group in self.groups(size))
        return reduce(add, parts)

    def shares(self, size: Size, classes: slice, total: Tensor, restore: Restore | None = None) -> Tensor:
        """Probabilities of some classes, (B, k, H, W), with their :meth:`total`."""
        scores = self._at(size, classes, restore)
        return scores / total.clamp(min=torch.finfo(total.dtype).tiny) if self.additive else (scores - total).exp_()

    def _at(self, size: Size, classes: slice, restore: Restore | None) -> Tensor:
        return self.at(size, classes) if restore is None else restore(self.at(size, classes))


def first_largest(parts: Iterable[tuple[slice, Tensor]]) -> Tensor:
    """The class with the largest score at each pixel, the first of equal ones.

    Args:
        parts: Classes, and their scores (B, k, H, W), in order.

    Returns:
        uint8 (B, H, W).
    """
    best = found = None
    for classes, scores in parts:
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

    def __getitem__(self, images: slice) -> DenseScores:
        return DenseScores(self.logits[images], self.align_corners)

    def groups(self, size: Size, pixels: int = 0) -> Iterator[slice]:
        most = max(_VALUES // (len(self.logits) * (pixels or size[0] * size[1])), 1)
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

    additive = True

    def __init__(self, classes: Tensor, masks: Tensor):
        self.classes, self.masks = classes, masks
        self.num_classes = classes.shape[2]

    def __getitem__(self, images: slice) -> QueryScores:
        return QueryScores(self.classes[images], self.masks[images])

    def at(self, size: Size, classes: slice) -> Tensor:
        rows = self._bands(size)
        return torch.cat([torch.einsum("bqk,bqhw->bkhw", self.classes[..., classes], m) for m in rows], 2)

    def groups(self, size: Size, pixels: int = 0) -> Iterator[slice]:
        # The masks are brought to full size for each group.
        return _groups(self.num_classes, max(_VALUES // (len(self.masks) * (pixels or size[0] * size[1])), _LANES))

    def labels(self, size: Size, restore: Restore | None = None) -> Tensor:
        if restore is not None:
            return super().labels(size, restore)
        bands = (torch.einsum("bqk,bqhw->bkhw", self.classes, masks) for masks in self._bands(size))
        return torch.cat([band.argmax(1).to(torch.uint8) for band in bands], 1)

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
