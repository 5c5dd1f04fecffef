"""Can a scan's intensities be what the network was trained on? What is compared, and what is said where they cannot.

Absolute values are compared only for channels with ``"ct"`` normalisation, where a number means the same in every
scan. Where each scan is normalised by itself (MR), the one thing that shows is that dark and bright have changed
places. A scan of another region, without any air, or with padding of any value, is not told apart on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densekit.datasets.shared.outliers import FEWEST
from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.datasets.volume.stored import StoredCase
from densekit.structures.notes import SUSPICIOUS

_SAMPLE = 50_000
"""Voxels of a channel that are looked at, about."""
_PADDING = 0.005
"""Share of the voxels from which a lone lowest value far below all others is padding."""
_PEAK = 0.05
"""The part of a scan's range, at its lower or upper end, in which the air of a scan lies."""

_EDGES = 33
"""So many values describe how often each occurs in the training scans: their percentiles, evenly spaced."""
_LIKELIER = 1.0
"""A change of unit explains a scan if its values are e times as frequent in the training scans, by the mean of the
logarithms, read so as read as they are. Of 486 CT scans and crops in HU none came to that."""
_STRETCHED = 0.3
"""Less than this part of the training scans' range is not 10 times anything."""
_FAMILIAR = 2.0
"""Values that occur in the training scans nearly as often as their own do are in their unit, whatever else is odd."""
_CHANGES: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "1024 added to HU? subtract it": (lambda values: values - 1024, 1.0),
    "1000 added to HU? subtract it": (lambda values: values - 1000, 1.0),
    "10 times HU? divide it by 10": (lambda values: values / 10, 0.1),
    "inverted? turn the sign": (lambda values: -values, 1.0),
}
"""Changes of unit by what is said of them: what undoes them, and the slope of that."""

Seen = Mapping[str, Any]
"""Of one channel of the training scans: ``lower`` and ``upper`` (0.5 and 99.5 percentile inside the structures),
``minimum`` (the highest of the scans' minima), ``air`` (least share of voxels clearly below ``lower``) and ``above``
(greatest share clearly above ``upper``); ``edges`` (33 percentiles of all of them, evenly spaced) and ``typical`` (how
frequent the values of the least typical scan are in these, the mean logarithm). Where each scan is normalised by itself
``dark`` and ``bright`` instead: the least share of voxels at the lower end of a scan's range, and the greatest at the
upper end."""


@dataclass(frozen=True, eq=False)
class ChannelValues:
    """The intensities of one channel of one scan.

    Attributes:
        values: About 50,000 of them in ascending order, without padding.
        inside: 0.5, 50 and 99.5 percentile inside its labelled structures; None without label.
    """

    values: np.ndarray
    inside: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, channel: np.ndarray, label: np.ndarray | None = None) -> ChannelValues:
        """Look at a channel ``(D, H, W)`` and its label map of the same shape."""
        # an odd step, so that it does not walk along one column of a grid of even size
        step = channel.size // _SAMPLE | 1
        values = np.sort(channel.ravel()[::step].astype(np.float64))
        inside = None
        if label is not None and label.any():
            found = channel[label > 0].astype(np.float64)
            inside = tuple(np.percentile(found, (0.5, 50, 99.5)).tolist())
        return cls(_without_padding(values), inside)

    def below(self, limit: float) -> float:
        """The share of voxels below ``limit``."""
        return float(np.searchsorted(self.values, limit)) / self.values.size

    def above(self, limit: float) -> float:
        """The share of voxels above ``limit``."""
        return 1 - float(np.searchsorted(self.values, limit, side="right")) / self.values.size

    @property
    def ends(self) -> tuple[float, float]:
        """The range without the rarest values, 0.1 to 99.9 percentile."""
        low, high = np.percentile(self.values, (0.1, 99.9)).tolist()
        return low, high

    @property
    def dark(self) -> float:
        """The share of voxels at the lower end of the range: air, where the scan shows any."""
        low, high = self.ends
        return 1 - self.above(low + _PEAK * (high - low))

    @property
    def bright(self) -> float:
        """The share of voxels at the upper end of the range."""
        low, high = self.ends
        return 1 - self.below(high - _PEAK * (high - low))


def channel_values(case: StoredCase) -> list[ChannelValues | None]:
    """Look at every channel of a prepared case; None for one that it lacks."""
    there = zip(case.image, case.channels_present, strict=True)
    return [ChannelValues.of(channel, case.label) if present else None for channel, present in there]


def _without_padding(values: np.ndarray) -> np.ndarray:
    """Take away the lowest value of ascending ``values`` if it is many voxels' and far from the next one."""
    rest = values[values > values[0]]
    if not rest.size or rest.size > (1 - _PADDING) * values.size:
        return values
    # wider than half of all others' range: scanners pad with -3024, -2000, -32768
    spread = np.percentile(rest, 99.5) - rest[0]
    return rest if rest[0] - values[0] > 0.5 * max(spread, 1e-9) else values


def describe(scans: Sequence[ChannelValues], intensity: Mapping[str, float] | None) -> dict[str, float] | None:
    """Say of one channel what all training scans have in common.

    Args:
        scans: That channel of every training scan.
        intensity: Of the ``"ct"`` normalisation of the channel; None: each scan is normalised by itself.

    Returns:
        See :data:`Seen`; None without scans.
    """
    if not scans:
        return None
    limits = None if intensity is None else (intensity["lower"], intensity["upper"])
    every = [np.percentile(scan.values, np.linspace(0, 100, 2001)) for scan in scans]
    edges = np.percentile(np.concatenate(every), np.linspace(0, 100, _EDGES))
    return _common(scans, limits, edges, low=min, high=max)


def _frequency(values: np.ndarray, edges: Sequence[float]) -> float:
    """The mean logarithm of how frequent values are, per unit: between two neighbours of ``edges`` lies an equal share.

    Args:
        values: Ascending or descending.
        edges: See :data:`Seen`.
    """
    span = max(edges[-1] - edges[0], 1e-9)
    places = np.asarray(edges) + np.linspace(0, 1e-4, len(edges)) * span  # many voxels of one value: equal edges
    shares, width, sample = np.linspace(0, 1, len(edges)), 0.004 * span, values[::10]
    upper, lower = (np.interp(sample + side, places, shares, left=0, right=1) for side in (width, -width))
    # a hundredth is spread evenly far beyond, so that nothing is impossible
    return float(np.log(0.99 * (upper - lower) / (2 * width) + 0.01 / (3 * span)).mean())


def _change(scan: ChannelValues, seen: Seen) -> str | None:
    """Name the change of unit without which the values are like those of the training scans, far more than with it."""
    now, (low, high) = _frequency(scan.values, seen["edges"]), scan.ends
    if now >= seen["typical"]:
        return None
    undone = {name: (_frequency(undo(scan.values), seen["edges"]), slope) for name, (undo, slope) in _CHANGES.items()}
    gains = {name: found + np.log(slope) - now for name, (found, slope) in undone.items()}
    likely = [name for name in gains if gains[name] > _LIKELIER and undone[name][0] > seen["typical"] - _LIKELIER]
    if high - low < _STRETCHED * (seen["edges"][-1] - seen["edges"][0]):  # a piece of tissue: any number is small then
        likely = [name for name in likely if undone[name][1] == 1]
    return max(likely, key=gains.get, default=None)


def _common(
    scans: Sequence[ChannelValues],
    limits: tuple[float, float] | None,
    edges: np.ndarray,
    *,
    low: Callable,
    high: Callable,
) -> dict[str, Any]:
    if limits is None:
        return {"dark": float(low([s.dark for s in scans])), "bright": float(high([s.bright for s in scans]))}
    lower, upper = limits
    width = upper - lower
    return {
        "lower": lower,
        "upper": upper,
        "minimum": float(high([s.values[0] for s in scans])),
        "air": float(low([s.below(lower - 0.1 * width) for s in scans])),
        "above": float(high([s.above(upper + 0.5 * width) for s in scans])),
        "edges": edges.tolist(),
        "typical": float(low([_frequency(s.values, edges) for s in scans])),
    }


def suspicions(array: np.ndarray, preprocessing: Preprocessing, present: Sequence[bool] | None = None) -> list[str]:
    """Say which channels of a scan cannot be what the network was trained on, one note each; none as a rule.

    Args:
        array: ``(C, d, h, w)`` on the network's grid, not normalised.
        preprocessing: The network's; without :attr:`Preprocessing.seen` only the range is compared.
        present: Whether the scan has each channel; None: it has all.
    """
    seen = preprocessing.seen or _from_intensity(preprocessing)
    there = present or [True] * len(array)
    notes = []
    for name, channel, of_channel, is_there in zip(preprocessing.channels, array, seen, there, strict=True):
        reason = is_there and of_channel and doubt(ChannelValues.of(channel), of_channel)
        if reason:
            notes.append(f"{SUSPICIOUS}{name} is not in the unit that the network was trained on: {reason}")
    return notes


def _from_intensity(preprocessing: Preprocessing) -> list[Seen | None]:
    """What an older checkpoint, or one of another program, knows: the range inside the structures."""
    if preprocessing.intensity is None:
        return [None] * len(preprocessing.channels)
    return [{"lower": i["lower"], "upper": i["upper"]} for i in preprocessing.intensity]


def doubt(scan: ChannelValues, seen: Seen) -> str | None:
    """Say why a channel cannot be like those described, with the likely cause; None if it can."""
    reason = _doubt(scan, seen)
    if reason is not None:
        return f"{reason}{_guess(scan, seen)}"
    change = _change(scan, seen) if "edges" in seen else None
    return change and f"its values are not like those of the training scans, but would be; {change}"


def _doubt(scan: ChannelValues, seen: Seen) -> str | None:
    low, high = scan.ends
    if "lower" not in seen:
        dark, bright = seen["dark"] >= 0.2 and seen["bright"] < 0.02, scan.dark < 0.02 and scan.bright >= 0.2
        return "its background is bright, that of the training scans dark" if dark and bright else None
    lower, upper = seen["lower"], seen["upper"]
    width = upper - lower
    known = f"the structures were trained at {lower:g} to {upper:g}"
    if high - low < 0.1 * width:
        return f"its values lie between {low:g} and {high:g}, {known}"
    if "minimum" not in seen:
        return None
    first = scan.values[0]
    if first >= 0 and seen["minimum"] < min(-0.1 * width, lower):
        return f"no voxel is below {first:g}, the training scans begin at {seen['minimum']:g} or lower"
    if "edges" in seen and _frequency(scan.values, seen["edges"]) > seen["typical"] - _FAMILIAR:
        return None
    airless = seen["air"] >= 0.01 and scan.below(lower - 0.1 * width) < 0.001
    if airless and scan.dark >= 0.1 and low > lower + 0.05 * width:
        return f"its darkest voxels, the air, have {low:g} and more, {known} and the air below that"
    share = scan.above(upper + 0.5 * width)
    if share > seen["above"] + 0.25:
        return f"{share:.0%} of its voxels are above {upper + 0.5 * width:.4g}, {known}"
    return None


def _guess(scan: ChannelValues, seen: Seen) -> str:
    """Name a change of unit that would explain it: undone, the scan is like the others."""
    values, low, high = scan.values, scan.values[0], scan.values[-1]
    if "lower" not in seen:
        return "; inverted?"
    if low >= -1e-3 and high <= 1.001:
        return "; a window scaled to 0..1? give the scan in its own unit"
    if low >= -1.001 and high <= 1.001:
        return "; scaled to -1..1? give the scan in its own unit"
    if low >= 0 and 200 < high <= 255.5:
        return "; a window scaled to 0..255? give the scan in its own unit"
    change = _change(scan, seen) if "edges" in seen else None
    if change:
        return f"; {change}"
    for added in (1024, 1000):
        if "minimum" in seen and seen["minimum"] < -500 and _like(values - added, seen):
            return f"; {added} added to HU? subtract it"
    turned = (-values[::-1], (high + seen.get("minimum", 0) - values)[::-1])
    if "minimum" in seen and seen["minimum"] < -500 and any(_like(other, seen) for other in turned):
        return "; inverted? turn the sign"
    return "; another modality or unit? give the scan in the unit of the training scans"


def _like(values: np.ndarray, seen: Seen) -> bool:
    """Whether values, in ascending order, show no doubt and have their share between the limits."""
    scan = ChannelValues(values)
    inside = 1 - scan.below(seen["lower"]) - scan.above(seen["upper"])
    return _doubt(scan, seen) is None and inside > 0.02 and values[0] < seen["lower"]


def cases_apart(
    cases: Mapping[str, Sequence[ChannelValues | None]], channels: Sequence[str], normalization: str
) -> Iterator[tuple[str, str]]:
    """Find the cases of a data set that are in another unit than most of the others.

    Args:
        cases: Of every case each channel, None for one it lacks.
        channels: Their names.
        normalization: The data set's, see :class:`Preprocessing`.

    Yields:
        Case id and what is the matter, one per channel.
    """
    for number, name in enumerate(channels):
        scans = {case: of_case[number] for case, of_case in cases.items() if of_case[number] is not None}
        labelled = [s.inside for s in scans.values() if s.inside is not None]
        if len(scans) < FEWEST or (normalization == "ct" and not labelled):
            continue
        limits = None
        if normalization == "ct":  # medians: one case of five in another unit does not move them
            lower, _, upper = np.median(labelled, axis=0).tolist()
            if upper <= lower:
                continue
            limits = lower, upper
        edges = np.median([np.percentile(s.values, np.linspace(0, 100, _EDGES)) for s in scans.values()], axis=0)
        seen = _common(list(scans.values()), limits, edges, low=np.median, high=np.median)
        for case, scan in scans.items():
            reason = doubt(scan, seen)
            if reason:
                reason = reason.replace("the training scans", "the other cases")
                reason = reason.replace("the structures were trained at", "the structures of the other cases are at")
                yield case, f"{name} is in another unit than in the other cases: {reason}"
