"""Sliding-window prediction of a whole volume: windows are cut, predicted and blended by weight.

Equal to MONAI's ``sliding_window_inference`` (same window positions, weights, padding and order of summation), with
these differences: the volume may stay in integer dtype on the CPU (a window is normalised by ``prepare`` once it is on
the device), sums are always float32, mirrored test-time predictions keep left and right apart, and
:func:`sliding_window_slabs` needs memory that does not grow with the length of the volume: a slab of
``classes x d x H x W``, d the window's depth, replaces the accumulator of ``classes x D x H x W``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from densekit.errors import ConfigError
from densekit.ops.mirror import LEFT_RIGHT_AXIS
from densekit.ops.window_settings import WindowSettings

_SIGMA_SCALE = 0.125
_SMALLEST_WEIGHT = 1e-3

Network = Callable[[Tensor], Tensor]
Prepare = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows lie, on a grid padded symmetrically where the volume is smaller than the window.

    Attributes:
        shape: Volume (D, H, W).
        window: Window (d, h, w).
        pad: Voxels of padding before the first voxel of each axis (0 where the volume is as large as the window).
        origins: First voxel of every window on the padded grid, the last axis fastest.
    """

    shape: tuple[int, int, int]
    window: tuple[int, int, int]
    pad: tuple[int, int, int]
    origins: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, shape: Sequence[int], settings: WindowSettings) -> WindowPlan:
        """Plan the windows for a volume of ``shape`` (D, H, W)."""
        shape, window, overlap = tuple(int(n) for n in shape), settings.window, settings.overlap
        overlaps = overlap if isinstance(overlap, tuple) else (overlap,) * 3
        axes = [_starts(max(n, w), w, o) for n, w, o in zip(shape, window, overlaps, strict=True)]
        pad = tuple(max(w - n, 0) // 2 for n, w in zip(shape, window, strict=True))
        return cls(shape, window, pad, tuple(itertools.product(*axes)))

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Shape of the padded grid: in every axis at least the window."""
        return tuple(max(n, w) for n, w in zip(self.shape, self.window, strict=True))

    def region(self, origin: Sequence[int]) -> tuple[slice, ...]:
        """The window at ``origin`` as slices of the padded grid."""
        return tuple(slice(o, o + w) for o, w in zip(origin, self.window, strict=True))

    def crop(self) -> tuple[slice, ...]:
        """The volume as slices of the padded grid."""
        return tuple(slice(p, p + n) for p, n in zip(self.pad, self.shape, strict=True))


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels along one axis: steps of ``int(window * (1 - overlap))``, the last moved back to the border."""
    step = max(int(window * (1 - overlap)), 1)
    count = math.ceil((size - window) / step) + 1
    return [min(i * step, size - window) for i in range(count)]


def window_weights(window: Sequence[int], kind: str = "gaussian") -> Tensor:
    """Return the blending weights of a window, float32 (d, h, w).

    ``"gaussian"``: sigma of one eighth of the window in each axis, peak 1 at the centre, nowhere below 0.001
    (so that a voxel seen by one window's corner only keeps its digits); ``"uniform"``: ones.
    """
    if kind == "uniform":
        return torch.ones(tuple(window))
    weights = torch.ones(())
    for size in window:
        x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(x**2 / (-2 * (_SIGMA_SCALE * size) ** 2))
    return weights.clamp(min=max(weights.min().item(), _SMALLEST_WEIGHT))


def _score(windows: Tensor, network: Network, settings: WindowSettings) -> Tensor:
    """Predict windows (b, C, d, h, w), averaged over the mirror images. Returns float32 (b, K, d, h, w)."""
    total, images, axes = None, 0, sorted(set(settings.mirror_axes))
    for flipped in itertools.chain.from_iterable(itertools.combinations(axes, n) for n in range(4)):
        dims = [axis + 2 for axis in flipped]
        scores = network(windows.flip(dims) if dims else windows).to(torch.float32)
        if scores.shape[0] != windows.shape[0] or scores.shape[2:] != windows.shape[2:]:
            raise ConfigError(
                f"the network gave {tuple(scores.shape)} for windows {tuple(windows.shape)}: sliding-window prediction "
                f"needs one score per class and voxel, so (b, classes, d, h, w) with the same b, d, h, w"
            )
        if settings.softmax:
            scores = scores.softmax(dim=1)
        if dims:
            scores = scores.flip(dims)
        if LEFT_RIGHT_AXIS in flipped and settings.mirror_swaps:
            scores = _swap_channels(scores, settings.mirror_swaps)
        total = scores if total is None else total + scores
        images += 1
    return total / images if images > 1 else total


def _swap_channels(scores: Tensor, swaps: Sequence[Sequence[int]]) -> Tensor:
    order = list(range(scores.shape[1]))
    for a, b in swaps:
        if not (0 <= a < len(order) and 0 <= b < len(order)):
            raise ConfigError(
                f"inference mirror_swaps={list(swaps)}: the network has channels 0 to {len(order) - 1} only"
            )
        order[a], order[b] = b, a
    return scores[:, order]


def _cut(
    volume: Tensor,
    plan: WindowPlan,
    origin: Sequence[int],
    device: torch.device,
    prepare: Prepare | None,
    fill: Sequence[float] | None,
) -> Tensor:
    """One window (C, d, h, w) on the device; outside the volume it is ``fill``, or 0 after ``prepare``."""
    low = [o - p for o, p in zip(origin, plan.pad, strict=True)]
    high = [first + w for first, w in zip(low, plan.window, strict=True)]
    inside = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, plan.shape, strict=True))
    window = volume[(slice(None), *inside)].to(device)
    margins = [m for s, a, b in zip(inside, low, high, strict=True) for m in (b - s.stop, s.start - a)][::-1]
    if any(margins) and fill is not None:
        if window.dtype in (torch.uint16, torch.uint32):
            window = window.to(torch.int64)
        channels = zip(window, fill, strict=True)
        window = torch.stack([F.pad(channel, margins, value=value) for channel, value in channels])
    if prepare is not None:
        window = prepare(window)
    elif not window.is_floating_point():
        window = window.to(torch.float32)
    return F.pad(window, margins) if any(margins) and fill is None else window


@torch.no_grad()
def sliding_window_slabs(
    volume: Tensor,
    network: Network,
    settings: WindowSettings,
    *,
    prepare: Prepare | None = None,
    fill: Sequence[float] | None = None,
    device: torch.device | str | None = None,
    accumulate_on: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Predict a volume window by window; yield the blended scores of every class in pieces along D.

    Each piece comes as soon as no later window can change it, so that only ``K x d x H x W`` sums exist at a time, with
    the window's depth d.

    Args:
        volume: (C, D, H, W), any dtype, on any device.
        network: Windows (b, C, d, h, w) -> logits (b, K, d, h, w). It is on ``device`` and in ``eval`` mode.
        settings: Window, overlap, blending and mirror images.
        prepare: Applied to every window (C, d, h, w) on ``device``: normalisation of integer data.
        fill: What a volume smaller than the window is padded with, a value per channel in the volume's own units (so
            before ``prepare``). It must be what training patches were padded with: for densekit's data sets
            :func:`minimum`. None: 0 after ``prepare``, as MONAI does.
        device: Where windows are predicted (default: where the volume is).
        accumulate_on: Where the sums are held (default: ``device``); "cpu" if they do not fit the accelerator.
        progress: Called with (windows done, windows in all) after each batch.

    Yields:
        Weighted means (K, rows, H, W), float32, on ``accumulate_on``: logits or probabilities, see
        :attr:`WindowSettings.activation`. The pieces follow one another without gap and add up to D rows.

    Raises:
        ConfigError: if the network changes the size of its input, or has no channel that is to be swapped.
    """
    plan = WindowPlan.of(volume.shape[1:], settings)
    device = torch.device(device or volume.device)
    home = torch.device(accumulate_on or device)
    map_ = window_weights(plan.window, settings.weights).to(device)
    slab, done = None, 0
    while done < len(plan.origins):
        origins = plan.origins[done : done + settings.batch]
        windows = torch.stack([_cut(volume, plan, origin, device, prepare, fill) for origin in origins])
        for origin, score in zip(origins, _score(windows, network, settings), strict=True):
            if slab is None:
                slab = _Slab(plan, score.shape[0], map_.to(home))
            if origin[0] > slab.first:
                yield slab.finish(origin[0])
            slab.add(origin, (score * map_).to(home))
        done += len(origins)
        if progress is not None:
            progress(done, len(plan.origins))
    yield slab.finish(slab.first + plan.window[0])


class _Slab:
    """The sums of one window's depth of rows, moved along D."""

    def __init__(self, plan: WindowPlan, classes: int, weights: Tensor):
        rows = (plan.window[0], *plan.padded_shape[1:])
        self.plan, self.weights, self.first = plan, weights, 0
        self.total = torch.zeros((classes, *rows), device=weights.device)
        self.counts = torch.zeros(rows, device=weights.device)

    def add(self, origin: Sequence[int], score: Tensor) -> None:
        region = self.plan.region((0, *origin[1:]))
        self.total[(slice(None), *region)] += score
        self.counts[region] += self.weights

    def finish(self, first: int) -> Tensor:
        """Return the rows before ``first`` (K, rows, H, W) without the padding, and make room for as many new ones."""
        rows = first - self.first
        done = self.total[:, :rows] / self.counts[:rows]
        for sums in (self.total.transpose(0, 1), self.counts):
            sums[: len(sums) - rows] = sums[rows:].clone()
            sums[len(sums) - rows :] = 0
        depth, height, width = self.plan.crop()
        low, high = max(depth.start - self.first, 0), min(depth.stop - self.first, rows)
        self.first = first
        return done[:, low:high, height, width]


def sliding_window(volume: Tensor, network: Network, settings: WindowSettings, **options) -> Tensor:
    """Predict a whole volume: the pieces of :func:`sliding_window_slabs`, whose options it takes, put together.

    Returns:
        (K, D, H, W), float32.
    """
    return torch.cat(list(sliding_window_slabs(volume, network, settings, **options)), dim=1)


def minimum(volume: Tensor) -> list[float]:
    """Smallest value of each channel of (C, D, H, W): the ``fill`` that agrees with training patches."""
    # By way of int64 where torch cannot compare: it stores uint16 and uint32, but computes little with them.
    comparable = volume.to(torch.int64) if volume.dtype in (torch.uint16, torch.uint32) else volume
    return [float(channel.min()) for channel in comparable]


def label_dtype(classes: int) -> torch.dtype:
    """The smallest integer dtype that holds label values below ``classes``."""
    return torch.uint8 if classes <= 256 else torch.int16
