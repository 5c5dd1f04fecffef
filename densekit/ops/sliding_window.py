"""Sliding-window prediction of a whole volume: windows are cut, predicted and blended by weight.

Equal to MONAI's ``sliding_window_inference`` (same window positions, weights, padding and order of summation), with
these differences: the volume may stay in integer dtype on the CPU (a window is normalised by ``prepare`` once it is on
the device), sums are always float32, mirrored test-time predictions keep left and right apart, and
:func:`sliding_window_labels` needs memory that does not grow with the length of the volume: a slab of
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

from densekit.errors import ConfigError, close_names

LEFT_RIGHT_AXIS = 2
"""Index of the left-right axis among the spatial axes (D, H, W) of a canonical volume."""

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
    def of(cls, shape: Sequence[int], window: Sequence[int], overlap: float | Sequence[float] = 0.5) -> WindowPlan:
        """Plan the windows for a volume of ``shape`` (D, H, W).

        Raises:
            ConfigError: if the window or the overlap cannot be.
        """
        shape, window = tuple(int(n) for n in shape), tuple(int(n) for n in window)
        overlaps = (overlap,) * 3 if isinstance(overlap, (int, float)) else tuple(overlap)
        if len(window) != 3 or min(window) < 1:
            raise ConfigError(f"inference window={window}: expected three voxel counts (d, h, w) of at least 1")
        if len(overlaps) != 3 or not all(0 <= o < 1 for o in overlaps):
            raise ConfigError(
                f"inference overlap={overlap}: expected a fraction from 0 up to, not including, 1 (0.5 is usual)"
            )
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

    Raises:
        ConfigError: if ``kind`` is neither.
    """
    if kind == "uniform":
        return torch.ones(tuple(window))
    if kind != "gaussian":
        raise ConfigError(
            f"inference weights={kind!r}: expected 'gaussian' or 'uniform'{close_names(kind, ('gaussian', 'uniform'))}"
        )
    weights = torch.ones(())
    for size in window:
        x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(x**2 / (-2 * (_SIGMA_SCALE * size) ** 2))
    return weights.clamp(min=max(weights.min().item(), _SMALLEST_WEIGHT))


def check_options(
    window: Sequence[int],
    *,
    overlap: float | Sequence[float] = 0.5,
    batch: int = 1,
    weights: str = "gaussian",
    mirror_axes: Sequence[int] = (),
    mirror_swaps: Sequence[Sequence[int]] = (),
    activation: str | None = None,
) -> None:
    """Check the options of :func:`sliding_window` before there is a volume.

    Raises:
        ConfigError: if one cannot be.
    """
    WindowPlan.of((1, 1, 1), window, overlap)
    window_weights((1, 1, 1), weights)
    if batch < 1:
        raise ConfigError(f"inference batch={batch}: expected at least 1 window at a time")
    if not set(mirror_axes) <= {0, 1, 2}:
        raise ConfigError(
            f"inference mirror_axes={tuple(mirror_axes)}: expected axes among 0 (D), 1 (H), 2 (W, left-right)"
        )
    flat = [channel for pair in mirror_swaps for channel in pair]
    if any(len(pair) != 2 for pair in mirror_swaps) or len(set(flat)) != len(flat):
        raise ConfigError(
            f"inference mirror_swaps={list(mirror_swaps)}: expected pairs of channels, each channel at most once"
        )
    if activation not in (None, "logits", "softmax"):
        raise ConfigError(
            f"inference activation={activation!r}: expected 'logits', 'softmax' or None (by the mirror axes)"
        )


def _score(
    windows: Tensor, network: Network, softmax: bool, axes: Sequence[int], swaps: Sequence[Sequence[int]]
) -> Tensor:
    """Predict windows (b, C, d, h, w), averaged over the mirror images. Returns float32 (b, K, d, h, w)."""
    total, images = None, 0
    for flipped in itertools.chain.from_iterable(itertools.combinations(sorted(set(axes)), n) for n in range(4)):
        dims = [axis + 2 for axis in flipped]
        scores = network(windows.flip(dims) if dims else windows).to(torch.float32)
        if scores.shape[0] != windows.shape[0] or scores.shape[2:] != windows.shape[2:]:
            raise ConfigError(
                f"the network gave {tuple(scores.shape)} for windows {tuple(windows.shape)}: sliding-window prediction "
                f"needs one score per class and voxel, so (b, classes, d, h, w) with the same b, d, h, w"
            )
        if softmax:
            scores = scores.softmax(dim=1)
        if dims:
            scores = scores.flip(dims)
        if LEFT_RIGHT_AXIS in flipped and swaps:
            scores = _swap_channels(scores, swaps)
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


def _windows(
    volume: Tensor,
    network: Network,
    plan: WindowPlan,
    *,
    batch: int,
    weights: Tensor,
    mirror_axes: Sequence[int],
    mirror_swaps: Sequence[Sequence[int]],
    activation: str | None,
    prepare: Prepare | None,
    fill: Sequence[float] | None,
    progress: Progress | None,
) -> Iterator[tuple[tuple[int, int, int], Tensor]]:
    """Yield (origin, weighted scores (K, d, h, w) float32) of every window, in the order of the plan."""
    check_options(
        plan.window,
        batch=batch,
        mirror_axes=mirror_axes,
        mirror_swaps=mirror_swaps,
        activation=activation,
    )
    softmax = activation == "softmax" or (activation is None and len(mirror_axes) > 0)
    done = 0
    while done < len(plan.origins):
        origins = plan.origins[done : done + batch]
        windows = torch.stack([_cut(volume, plan, origin, weights.device, prepare, fill) for origin in origins])
        scores = _score(windows, network, softmax, mirror_axes, mirror_swaps)
        for origin, score in zip(origins, scores, strict=True):
            yield origin, score * weights
        done += len(origins)
        if progress is not None:
            progress(done, len(plan.origins))


@torch.no_grad()
def sliding_window_slabs(
    volume: Tensor,
    network: Network,
    window: Sequence[int],
    *,
    overlap: float | Sequence[float] = 0.5,
    batch: int = 1,
    weights: str = "gaussian",
    mirror_axes: Sequence[int] = (),
    mirror_swaps: Sequence[Sequence[int]] = (),
    activation: str | None = None,
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
        window: Window (d, h, w) in voxels. A smaller volume is padded symmetrically.
        overlap: Share of a window that the next one covers again, for all axes or per axis, in [0, 1).
        batch: Windows per call of the network. Does not change the result.
        weights: ``"gaussian"`` or ``"uniform"``, see :func:`window_weights`.
        mirror_axes: Spatial axes (0 = D, 1 = H, 2 = W, left-right) to mirror. The scores are averaged over all
            combinations of them: 2 ** n network calls.
        mirror_swaps: Pairs of channels (left and right kidney) that trade places in a left-right mirror image.
        activation: What is averaged: ``"logits"`` (as MONAI does), ``"softmax"`` (as nnU-Net v1 and nnFormer do), or
            None: logits without mirroring, softmax with, since logits of separate passes have no common scale.
        prepare: Applied to every window (C, d, h, w) on ``device``: normalisation of integer data.
        fill: What a volume smaller than the window is padded with, a value per channel in the volume's own units (so
            before ``prepare``). It must be what training patches were padded with: for densekit's data sets
            :func:`minimum`. None: 0 after ``prepare``, as MONAI does.
        device: Where windows are predicted (default: where the volume is).
        accumulate_on: Where the sums are held (default: ``device``); "cpu" if they do not fit the accelerator.
        progress: Called with (windows done, windows in all) after each batch.

    Yields:
        Weighted means (K, rows, H, W), float32, on ``accumulate_on``: logits or probabilities, see ``activation``. The
        pieces follow one another without gap and add up to D rows.

    Raises:
        ConfigError: if an option cannot be, or the network changes the size of its input.
    """
    plan = WindowPlan.of(volume.shape[1:], window, overlap)
    device = torch.device(device or volume.device)
    home = torch.device(accumulate_on or device)
    map_ = window_weights(plan.window, weights).to(device)
    weighted = _windows(
        volume,
        network,
        plan,
        batch=batch,
        weights=map_,
        mirror_axes=mirror_axes,
        mirror_swaps=mirror_swaps,
        activation=activation,
        prepare=prepare,
        fill=fill,
        progress=progress,
    )
    slab = None
    for origin, score in weighted:
        if slab is None:
            slab = _Slab(plan, score.shape[0], map_.to(home))
        if origin[0] > slab.first:
            yield slab.finish(origin[0])
        slab.add(origin, score.to(home))
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


def sliding_window(volume: Tensor, network: Network, window: Sequence[int], **options) -> Tensor:
    """Predict a whole volume: the pieces of :func:`sliding_window_slabs`, whose options it takes, put together.

    Returns:
        (K, D, H, W), float32.
    """
    return torch.cat(list(sliding_window_slabs(volume, network, window, **options)), dim=1)


def sliding_window_labels(volume: Tensor, network: Network, window: Sequence[int], **options) -> Tensor:
    """Predict a whole volume and return only its label map, in memory that does not grow with D.

    The same labels as ``sliding_window(...).argmax(0)``, voxel for voxel.

    Args:
        volume: (C, D, H, W), any dtype, on any device.
        network: Windows (b, C, d, h, w) -> logits (b, K, d, h, w).
        window: Window (d, h, w) in voxels.
        **options: The keyword arguments of :func:`sliding_window_slabs`.

    Returns:
        Label map (D, H, W) on the CPU: uint8, or int16 for more than 256 classes.
    """
    slabs = sliding_window_slabs(volume, network, window, **options)
    return torch.cat([scores.argmax(0).to(label_dtype(scores.shape[0])).cpu() for scores in slabs])


def minimum(volume: Tensor) -> list[float]:
    """Smallest value of each channel of (C, D, H, W): the ``fill`` that agrees with training patches."""
    # By way of int64 where torch cannot compare: it stores uint16 and uint32, but computes little with them.
    comparable = volume.to(torch.int64) if volume.dtype in (torch.uint16, torch.uint32) else volume
    return [float(channel.min()) for channel in comparable]


def label_dtype(classes: int) -> torch.dtype:
    """The smallest integer dtype that holds label values below ``classes``."""
    return torch.uint8 if classes <= 256 else torch.int16
