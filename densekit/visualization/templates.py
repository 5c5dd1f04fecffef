"""The pages of the reports as Jinja2 templates: one frame with style and script, and one page for each kind of report.

Nothing is fetched from anywhere: style, script and pictures are in the page, and its Content-Security-Policy forbids
all else.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #1d232d; --faint: #5c6675; --line: #dfe3e9; --soft: #f0f2f5;
  --accent: #2b65a8; --fail: #b3261e; --fail-soft: #fdeeed; --warn: #8a5a00; --warn-soft: #fff5e0;
  --bar: #d3e1f1; --shade: #c3c9d3;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #121418; --card: #1b1e24; --ink: #e3e6eb; --faint: #9ba4b3; --line: #2e333c; --soft: #23272e;
    --accent: #7fb2ea; --fail: #ff8a80; --fail-soft: #351d1d; --warn: #f0b95a; --warn-soft: #312713;
    --bar: #2a405a; --shade: #000000;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2rem 1.25rem 3rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
main, header, footer { max-width: 72rem; margin: 0 auto; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 .6rem; }
a { color: var(--accent); }
.lead { font-size: 1.1rem; }
.faint, footer { color: var(--faint); font-size: .9rem; }
.notice { display: inline-block; margin: .3rem 0 1.5rem; padding: .3rem .75rem; border: 1px solid var(--line);
  border-radius: 6px; background: var(--card); font-size: .9rem; font-weight: 600; }
section, article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem;
  margin: 0 0 1.25rem; }
section.fail { background: var(--fail-soft); border-color: var(--fail); }
section.fail h2, .bad { color: var(--fail); }
section.warn { background: var(--warn-soft); border-color: var(--warn); }
section.warn h2, .odd { color: var(--warn); }
section > ul { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
li + li { margin-top: .3rem; }
/* A shade at an edge behind which there is more: the covers scroll with the content, the shades do not. */
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--card) 30%, transparent) left / 2rem 100% no-repeat local,
  linear-gradient(to left, var(--card) 30%, transparent) right / 2rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, .text { text-align: left; }
.table th:first-child, .table td:first-child { position: sticky; left: 0; background: var(--card); }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { color: var(--ink); font-weight: 400; }
tbody tr:hover > * { background: var(--soft); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
.table th { white-space: normal; min-width: 5.5rem; }
.table .faint { font-size: inherit; }
.scroll + p { margin: .75rem 0 0; }
.odd { font-weight: 700; }
.strip { display: block; width: 16rem; height: 1.1em; overflow: visible; }
.strip line { stroke: var(--line); }
.strip circle { fill: var(--accent); fill-opacity: .45; }
.strip .odd { fill: var(--warn); fill-opacity: 1; }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .5em; }
.bar { min-width: 10rem; background: linear-gradient(to right, var(--bar) var(--part), transparent 0); }
.pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.pairs td:first-child { color: var(--faint); white-space: nowrap; padding-right: 1.5rem; }
.volumes { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 2rem; margin: 1rem 0 0;
  font-size: .92rem; font-variant-numeric: tabular-nums; }
.volumes div { display: flex; justify-content: space-between; gap: 1rem; padding: .25rem 0;
  border-bottom: 1px solid var(--line); }
.volumes dd { margin: 0; white-space: nowrap; }
article { content-visibility: auto; contain-intrinsic-size: auto 60rem; }
article .notes { margin: .9rem 0 0; padding-left: 1.2rem; font-size: .92rem; }
figure { margin: .9rem 0 0; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .3rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
figure.paper { background: #fff; border-radius: 6px; padding: .5rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 2rem; font-size: 15px; }
  section, article { padding: .9rem; }
  h1 { font-size: 1.35rem; }
  figure { overflow-x: auto; }
  figure img { max-width: none; width: 48rem; }
  th, td { padding: .35rem .5rem; }
  .pairs td:first-child { white-space: normal; padding-right: .8rem; }
}
@media print {
  body { background: #fff; padding: 0; font-size: 10pt; }
  main, header, footer { max-width: none; }
  section, article { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .8rem 0; }
  article { break-inside: avoid; content-visibility: visible; }
  .scroll { overflow: visible; background: none; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  .table th { min-width: 0; }
  .strip { width: 8rem; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""

# Rows without a value in the chosen column stay at the end in both directions.
SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement, body = row.closest("table").tBodies[0];
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = tr => tr.children[head.cellIndex]?.dataset.value ?? "";
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = head.dataset.kind === "text" ? x.localeCompare(y, undefined, {numeric: true}) : x - y;
      return rising ? order : -order;
    });
    body.append(...rows);
  });
}
"""

FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% block lead %}{% endblock %}
<p class="faint">Written {{ written }} by densekit {{ version }}</p>
{% block notice %}<p class="notice">For research use only, not a medical device.</p>{% endblock %}
</header>
<main>
{% block content %}{% endblock %}
</main>
<footer>{% block footer %}
For research use only, not a medical device. Volumes are label voxels times voxel size.
{% endblock %}</footer>
<script>{{ script }}</script>
</body>
</html>
"""

PARTS = """
{% macro swatch(color) %}<span class="swatch" style="background:{{ color }}"></span>{% endmacro %}

{% macro mark(volume) %}{% if volume.odd %} &#9650;{% endif %}{% endmacro %}

{% macro pairs(rows) %}
<div class="scroll"><table class="pairs"><tbody>
{% for name, value in rows %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}</tbody></table></div>
{% endmacro %}

{% macro case_article(case) %}
<article id="{{ case.anchor }}">
<h3>{{ case.id }}</h3>
<p class="faint">{{ case.grid }}; segmented in {{ case.time }}</p>
{% if case.picture %}
<figure><img src="{{ case.picture }}" alt="Slices of {{ case.id }} with the segmented structures"></figure>
{% elif case.picture_missing %}
<p class="faint">The picture of this case could not be read.</p>
{% endif %}
<dl class="volumes">
{% for v in case.volumes %}
<div><dt>{{ swatch(v.color) }}{{ v.name }}</dt>
<dd{% if v.odd %} class="odd"{% endif %}>{{ v.text }}{{ " ml" if v.found }}{{ mark(v) }}</dd></div>
{% endfor %}
</dl>
{% if case.notes %}<ul class="notes">{% for note in case.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
</article>
{% endmacro %}

{% macro failed_section(failed) %}
<section class="fail">
<h2>Failed ({{ failed|length }})</h2>
<ul>{% for case in failed %}<li><strong>{{ case.id }}</strong>: {{ case.reason }}
{% if case.notes %}<br><span class="faint">{{ case.notes|join("; ") }}</span>{% endif %}</li>{% endfor %}</ul>
</section>
{% endmacro %}
"""

PREDICTION = """{% extends "frame" %}
{% from "parts" import swatch, mark, pairs, case_article, failed_section %}
{% block lead %}<p class="lead">{{ lead }}</p>{% endblock %}
{% block content %}
{% if failed %}{{ failed_section(failed) }}{% endif %}
{% if remarks %}
<section class="warn">
<h2>Worth a look</h2>
<ul>{% for remark in remarks %}<li>{{ remark }}</li>{% endfor %}</ul>
</section>
{% endif %}
{% if cohort %}
<section>
<h2>Volumes over the cohort, in ml</h2>
<div class="scroll"><table class="table">
<thead><tr><th>Structure</th><th>Found in</th><th>Mean</th><th>SD</th><th>Min</th><th>Max</th>
<th class="text">Cases, from 0 to the maximum</th></tr></thead>
<tbody>
{% for row in cohort %}<tr><td>{{ swatch(row.color) }}{{ row.name }}</td><td>{{ row.found }} of {{ row.cases }}</td>
{% for text in row.figures %}<td>{{ text }}</td>{% endfor %}
<td><svg class="strip" aria-hidden="true"><line x1="0" x2="100%" y1="50%" y2="50%" />
{% for dot in row.dots %}<circle cx="{{ dot.at }}%" cy="50%" r="4"{% if dot.odd %} class="odd"{% endif %} />{% endfor %}
</svg></td></tr>
{% endfor %}</tbody></table></div>
<p class="faint">Mean, sample SD, minimum and maximum are over the cases in which the structure was found.</p>
</section>
<section>
<h2>Volumes per case, in ml</h2>
<div class="scroll"><table class="table">
<thead><tr><th data-kind="text"><button type="button">Case</button></th>
{% for name in structures %}<th><button type="button">{{ name }}</button></th>{% endfor %}</tr></thead>
<tbody>
{% for case in cases %}<tr><td data-value="{{ case.id }}"><a href="#{{ case.anchor }}">{{ case.id }}</a></td>
{% for v in case.volumes %}
<td{% if v.value is not none %} data-value="{{ v.value }}"{% endif %}
{% if v.odd %} class="odd" title="{{ v.odd }}"{% elif not v.found %} class="faint"{% endif %}>
{{ v.text }}{{ mark(v) }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p class="faint">Click a heading to sort.
{% if judged %}
&#9650; marks a volume that stands out from the cohort (robust z above {{ limit }} in either direction).
{% endif %}
</p>
</section>
{% endif %}
{% for case in cases %}{{ case_article(case) }}{% endfor %}
<section>
<h2>Settings</h2>
{{ pairs(settings) }}
</section>
{% endblock %}
"""

TRAINING = """{% extends "frame" %}
{% from "parts" import pairs, case_article, failed_section %}
{% block content %}
<section>
<h2>What was trained</h2>
{{ pairs(facts) }}
</section>
{% if scores %}
<section>
<h2>Scores</h2>
<div class="scroll"><table class="table">
<thead><tr>{% for name in score_columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in scores %}<tr>
{% for cell in row %}
<td{% if cell.part %} class="bar" style="--part:{{ cell.part }}"{% endif %}>{{ cell.text }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
</section>
{% endif %}
{% if curves %}
<section>
<h2>Training curves</h2>
<figure class="paper">
<img src="{{ curves }}" alt="Loss, learning rate and validation Dice over the training steps">
</figure>
</section>
{% endif %}
{% if pictures %}
<section>
<h2>Validation slices</h2>
{% for picture in pictures %}<figure><img src="{{ picture.data }}" alt="Validation slices, {{ picture.name }}">
<figcaption>{{ picture.name }}</figcaption></figure>{% endfor %}
</section>
{% endif %}
{% if unseen %}
<h2>An unseen volume</h2>
{% if unseen.failed %}{{ failed_section([unseen]) }}{% else %}{{ case_article(unseen) }}{% endif %}
{% endif %}
{% endblock %}
"""

TEMPLATES = {"frame": FRAME, "parts": PARTS, "prediction": PREDICTION, "training": TRAINING}
