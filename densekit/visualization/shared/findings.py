"""Findings of ``densekit check`` as its page shows them: count, places with pictures, remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from densekit.structures.findings import Example, Finding


def finding_views(
    findings: Sequence[Finding], draw: Callable[[Example], str | None], caption: Callable[[Example], str]
) -> dict[str, list]:
    """Return what a page says of findings: ``errors``, ``warnings``, ``repairs`` (notes with pictures) and ``notes``.

    Args:
        findings: All of them.
        draw: Makes the picture of a place, a data URI; None if it has none.
        caption: What is said below it.
    """
    of = {severity: [f for f in findings if f.severity == severity] for severity in ("error", "warning", "note")}
    drawn = [f for f in of["note"] if any(example.boxes for example in f.examples)]
    return {
        "errors": [_view(f, draw, caption) for f in of["error"]],
        "warnings": [_view(f, draw, caption) for f in of["warning"]],
        "repairs": [_view(f, draw, caption) for f in drawn],
        "notes": [_words(f) for f in of["note"] if f not in drawn],
    }


def _view(finding: Finding, draw: Callable[[Example], str | None], caption: Callable[[Example], str]) -> dict[str, Any]:
    pictures = [(example, draw(example)) for example in finding.examples]
    places = [example.where for example, picture in pictures if picture is None]
    return {
        "count": f"{finding.count:,}",
        "message": finding.message[:1].upper() + finding.message[1:],
        "remedy": finding.remedy,
        "pictures": [{"where": caption(example), "data": picture} for example, picture in pictures if picture],
        "places": places,
        "further": f"{finding.count - len(pictures):,}" if finding.count > len(pictures) > 0 else "",
    }


def _words(finding: Finding) -> str:
    places = [example.where for example in finding.examples]
    text = f"{finding.message}: {finding.count:,}" if finding.count > 1 else finding.message
    text += f" ({', '.join(places)}{' ...' if finding.count > len(places) else ''})" if places else ""
    return f"{text}; {finding.remedy}" if finding.remedy else text


def shortened(name: str) -> str:
    """Return a file name of at most 36 characters."""
    return name if len(name) <= 36 else f"{name[:16]}…{name[-16:]}"
