"""The page of ``densekit check`` for detection data: what is wrong, where it shows, and what the labels look like."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from densekit.datasets.detection.inspection import SIDES, Inspection
from densekit.datasets.finding import Example, Finding
from densekit.visualization.page import write_page
from densekit.visualization.palette import css_color
from densekit.visualization.thumbnails import crop_around, data_uri, draw_objects, open_upright

_STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; align-items: start; }
.tiles figure { margin: 0; }
.tiles img { width: 100%; height: 14.5rem; object-fit: contain; background: var(--soft); }
.tiles figcaption { overflow-wrap: anywhere; font-size: .85rem; }
.finding { border-top: 1px solid var(--line); padding: 1rem 0 .25rem; }
.finding:first-of-type { border-top: 0; padding-top: 0; }
.finding h3 { font-weight: 600; }
.finding .tiles { margin: .75rem 0; }
.finding ul { margin: .5rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; font-size: .92rem; }
.fail .tiles img, .warn .tiles img { background: none; object-position: left; }
.hist { display: flex; align-items: flex-end; gap: .35rem; height: 9rem; margin: 1rem 0 .4rem; max-width: 40rem; }
.hist div { flex: 1; display: flex; flex-direction: column; justify-content: flex-end; height: 100%; text-align: center;
  font-size: .82rem; font-variant-numeric: tabular-nums; }
.hist i { display: block; background: var(--accent); border-radius: 3px 3px 0 0; min-height: 1px; }
.hist span { color: var(--faint); border-top: 1px solid var(--line); padding-top: .2rem; }
.count { display: inline-block; min-width: 1.9rem; padding: 0 .5rem; margin-right: .6rem; border-radius: 1rem;
  text-align: center; font-size: .9rem; font-variant-numeric: tabular-nums; color: var(--card);
  background: var(--faint); }
.fail .count { background: var(--fail); }
.warn .count { background: var(--warn); }
.remedy::before { content: "\\2192\\00a0"; }
.remedy { font-size: .95rem; }
"""

_PAGE = """{% extends "frame" %}
{% from "parts" import pairs, swatch %}
{% macro findings_list(findings) %}
{% for f in findings %}
<div class="finding">
<h3><span class="count">{{ f.count }}</span>{{ f.message }}</h3>
{% if f.pictures %}<div class="tiles">{% for p in f.pictures %}
<figure><img src="{{ p.data }}" alt=""><figcaption>{{ p.where }}</figcaption></figure>
{% endfor %}</div>{% endif %}
{% if f.places %}<ul>{% for place in f.places %}<li>{{ place }}</li>{% endfor %}
{% if f.further %}<li class="faint">and {{ f.further }} more</li>{% endif %}</ul>
{% elif f.further %}<p class="faint">and {{ f.further }} more</p>{% endif %}
{% if f.remedy %}<p class="remedy">{{ f.remedy }}</p>{% endif %}
</div>
{% endfor %}
{% endmacro %}
{% block lead %}<p class="lead">{{ lead }}</p><p class="faint">{{ layout }}</p>{% endblock %}
{% block notice %}{% endblock %}
{% block content %}
{% if errors %}<section class="fail"><h2>Errors: these stop a training ({{ errors|length }})</h2>
{{ findings_list(errors) }}</section>{% endif %}
{% if warnings %}<section class="warn"><h2>Put right, or worth a look ({{ warnings|length }})</h2>
{{ findings_list(warnings) }}</section>{% endif %}
<section>
<h2>What there is</h2>
<div class="scroll"><table class="table">
<thead><tr><th>Split</th><th>Images</th><th>Without objects</th><th>Objects</th><th>Objects per image</th></tr></thead>
<tbody>{% for row in splits %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p></p>
{{ pairs(facts) }}
<p></p>
<h3>Sizes of the objects, as seen in training</h3>
<div class="hist">{% for bar in histogram %}<div>{{ bar.count }}
<i style="height:{{ bar.height }}"></i><span>{{ bar.name }}</span></div>
{% endfor %}</div>
<p class="faint">Side of the box (root of its area) in pixels after the picture is fitted into {{ input_size }}.</p>
</section>
{% if gallery %}<section>
<h2>What the labels look like</h2>
<div class="tiles">{% for p in gallery %}
<figure><img src="{{ p.data }}" alt="{{ p.name }} with its objects">
<figcaption title="{{ p.name }}">{{ p.split }}: {{ p.short }}, {{ p.objects }}</figcaption></figure>
{% endfor %}</div>
</section>{% endif %}
{% if classes %}<section>
<h2>Classes ({{ classes|length }})</h2>
<div class="scroll"><table class="table">
<thead><tr><th data-kind="text"><button type="button">Class</button></th>
{% for name in split_names %}<th><button type="button">{{ name }}</button></th>{% endfor %}
<th><button type="button">Median side, px</button></th><th class="text">Share of the objects</th></tr></thead>
<tbody>{% for c in classes %}<tr><td data-value="{{ c.name }}">{{ swatch(c.color) }}{{ c.name }}</td>
{% for n in c.counts %}<td data-value="{{ n }}"{% if not n %} class="odd"{% endif %}>{{ "{:,}".format(n) }}</td>
{% endfor %}
<td{% if c.side %} data-value="{{ c.side }}"{% endif %}>{{ c.side_text }}</td>
<td class="bar" style="--part:{{ c.part }}">{{ c.share }}</td></tr>
{% endfor %}</tbody></table></div>
<p class="faint">The side of a box is the square root of its area. Click a heading to sort.</p>
</section>{% endif %}
{% if notes %}<section><h2>Good to know</h2>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul></section>{% endif %}
{% endblock %}
{% block footer %}
Boxes are given as x, y, width, height in pixels from the corner of the upright picture.
{% endblock %}
"""


def write_dataset_report(path: str | os.PathLike, inspection: Inspection) -> None:
    """Write what ``densekit check`` found as one self-contained HTML page.

    Errors first, then warnings, each with its count, up to three places (cut out of the picture where there is one)
    and the remedy; then splits and classes, and a dozen pictures with their labels.

    Args:
        path: The HTML file to write.
        inspection: What was found. The image files are read from where they lie.

    Raises:
        OutputError: if the file cannot be written.
    """
    summary = inspection.summary
    by_severity = {
        severity: [f for f in inspection.findings if f.severity == severity]
        for severity in ("error", "warning", "note")
    }
    write_page(
        path,
        _PAGE,
        title=f"Data set {summary['name']}",
        style=_STYLE,
        lead=_lead(inspection),
        layout=summary["layout"],
        errors=[_finding_view(finding) for finding in by_severity["error"]],
        warnings=[_finding_view(finding) for finding in by_severity["warning"]],
        notes=[_note(finding) for finding in by_severity["note"]],
        splits=[_split_row(name, counts) for name, counts in summary["splits"].items()],
        split_names=list(summary["splits"]),
        facts=_facts(summary),
        histogram=_histogram(summary),
        input_size=" × ".join(str(side) for side in summary["input_size"]),
        classes=_class_views(summary),
        gallery=[view for view in (_gallery_view(item, summary) for item in summary["gallery"]) if view],
    )


def _lead(inspection: Inspection) -> str:
    splits = inspection.summary["splits"].values()
    images, objects = (sum(counts[key] for counts in splits) for key in ("images", "objects"))
    classes = len(inspection.summary["classes"])
    errors, warnings = inspection.count("error"), inspection.count("warning")
    verdict = f"{errors} error{'s' * (errors != 1)}: it cannot be trained on as it is" if errors else "Sound"
    return (
        f"{images:,} images, {objects:,} objects of {classes} class{'es' * (classes != 1)}. "
        f"{verdict}; {warnings} warning{'s' * (warnings != 1)}."
    )


def _finding_view(finding: Finding) -> dict[str, Any]:
    pictures = [(example, _thumbnail(example)) for example in finding.examples]
    places = [example.where for example, picture in pictures if picture is None]
    return {
        "count": f"{finding.count:,}",
        "message": finding.message[:1].upper() + finding.message[1:],
        "remedy": finding.remedy if finding.remedy != "nothing to do" else "",
        "pictures": [{"where": example.where, "data": picture} for example, picture in pictures if picture],
        "places": places,
        "further": f"{finding.count - len(pictures):,}" if finding.count > len(pictures) > 0 else "",
    }


def _thumbnail(example: Example) -> str | None:
    image = open_upright(example.image) if example.image else None
    return None if image is None else data_uri(crop_around(image, example.boxes, example.outlines))


def _note(finding: Finding) -> str:
    places = [example.where for example in finding.examples]
    text = f"{finding.message}: {finding.count:,}" if finding.count > 1 and not places else finding.message
    return text + (f" ({', '.join(places)}{' ...' if finding.count > len(places) else ''})" if places else "")


def _split_row(name: str, counts: Mapping[str, int]) -> list[str]:
    mean = counts["objects"] / counts["images"] if counts["images"] else 0
    return [name, *(f"{counts[key]:,}" for key in ("images", "background", "objects")), f"{mean:.1f}"]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{w} × {h} ({n:,})" for w, h, n in summary["sizes"])
    more = summary["different_sizes"] - len(summary["sizes"])
    median, most = summary["objects_per_image"]
    objects = sum(counts["objects"] for counts in summary["splits"].values())
    outlined = "all" if summary["outlines"] == objects else f"{summary['outlines']:,} of {objects:,}"
    return [
        ("Folder", summary["root"]),
        ("Sizes of the pictures", sizes + (f" and {more:,} others" if more > 0 else "")),
        ("Objects per picture", f"median {median:g}, most {most:,}"),
        ("Objects with an outline", outlined if summary["outlines"] else "none: boxes only"),
    ]


def _histogram(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    counts = summary["seen_sides"]
    names = [f"< {SIDES[0]}", *(f"{low}–{high}" for low, high in pairwise(SIDES)), f"> {SIDES[-1]}"]
    most = max([1, *counts])
    # Room for the numbers above and below: a bar takes 70 % of the height at most.
    heights = (f"{70 * count / most:.1f}%" for count in counts)
    return [
        {"name": name, "count": f"{count:,}", "height": height}
        for name, count, height in zip(names, counts, heights, strict=True)
    ]


def _class_views(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    totals = [sum(entry["objects"].values()) for entry in summary["classes"]]
    everything, largest = max(sum(totals), 1), max([1, *totals])
    views = []
    for label, (entry, total) in enumerate(zip(summary["classes"], totals, strict=True)):
        side = entry["median_side"]
        views.append(
            {
                "name": entry["name"],
                "color": css_color(label + 1),
                "counts": [entry["objects"][split] for split in summary["splits"]],
                "total": total,
                "side": side,
                "side_text": "–" if side is None else f"{side:.0f}",
                "part": f"{100 * total / largest:.1f}%",
                "share": f"{100 * total / everything:.1f} %",
            }
        )
    return sorted(views, key=lambda view: -view["total"])


def _gallery_view(item: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any] | None:
    image = open_upright(item["file"])
    if image is None:
        return None
    names: Sequence[str] = [entry["name"] for entry in summary["classes"]]
    drawn = draw_objects(image, item["boxes"], item["labels"], item["outlines"], names)
    count = item["objects"]
    words = "background" if count == 0 else f"{count:,} object{'s' * (count != 1)}"
    name = item["name"].rpartition("/")[2]
    short = name if len(name) <= 36 else f"{name[:16]}…{name[-16:]}"
    return {"data": data_uri(drawn), "name": item["name"], "short": short, "split": item["split"], "objects": words}
