"""Images that are in two splits, or twice in one."""

from __future__ import annotations

from collections.abc import Sequence

from densekit.datasets.shared.findings import Collected, Kind
from densekit.datasets.shared.image_files import Header
from densekit.datasets.shared.similar import same_files, similar_pairs
from densekit.structures.findings import Example

LEAKS: dict[str, Kind] = {
    "split-overlap": Kind(
        "warning",
        "images that are in two splits, byte for byte: the score would be of images the network was trained on",
        "keep each image in one split",
    ),
    "split-similar": Kind(
        "warning",
        "images that look the same in two splits: the score may be too good",
        "keep frames of one scene, and copies of one image, in one split",
    ),
    "image-duplicate": Kind("warning", "image files with the same content in one split", "keep one"),
}
"""The kinds that :func:`find_leaks` adds, beside a note ``layout``."""


def find_leaks(
    findings: Collected,
    paths: Sequence[str],
    headers: Sequence[Header | None],
    places: Sequence[tuple[str, str]],
) -> None:
    """Find images that are the same byte for byte, and those in two splits that look the same.

    Args:
        findings: Collects; its kinds have :data:`LEAKS` and ``layout``.
        paths: The image files.
        headers: What they say; None for one that is missing.
        places: Split and name of each.
    """
    twice: set[int] = set()
    for group in same_files(paths, headers):
        twice.update(group)
        across = len({places[i][0] for i in group}) > 1
        words = " = ".join(": ".join(places[i]) for i in group[:3])
        code = "split-overlap" if across else "image-duplicate"
        findings.add(code, Example(words, paths[group[0]]), count=len(group) - 1)
    pairs = similar_pairs(paths, headers, [split for split, _ in places], twice)
    if pairs is None:
        words = "there are too many images to compare them by their looks; only exact copies were looked for"
        findings.add("layout", count=1, message=words)
        return
    for one, other, r in pairs:
        words = f"{': '.join(places[one])} ~ {': '.join(places[other])} (r {r:.3f})"
        findings.add("split-similar", Example(words, paths[one]))
