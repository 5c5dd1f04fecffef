"""The page of the detection report as a Jinja2 template, on the frame of the other reports."""

DETECTION_STYLE = """
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1.5rem 1.25rem;
  align-items: start; }
.worst figure { margin: 0; }
.worst figcaption { overflow-wrap: anywhere; }
.worst figcaption ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.worst strong { color: var(--ink); }
.errors .bar { min-width: 14rem; text-align: left; }
.errors td { vertical-align: top; }
.errors .text { white-space: normal; }
"""

DETECTION_PAGE = """{% extends "frame" %}
{% from "parts" import pairs, swatch %}
{% block lead %}<p class="lead">{{ lead }}</p>{% endblock %}
{% block notice %}{% endblock %}
{% block content %}
<section>
<h2>What was scored</h2>
{{ pairs(facts) }}
</section>
<section>
<h2>Scores</h2>
<div class="scroll"><table class="table">
<thead><tr><th></th><th>AP</th><th>AP50</th><th>AP75</th>
{% for size in sizes %}<th>AP {{ size.name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in scores %}<tr><td>{{ row.name }}</td>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
<tr class="faint"><td>Objects</td><td>{{ objects }}</td><td></td><td></td>
{% for size in sizes %}<td>{{ size.objects }}</td>{% endfor %}</tr>
</tbody></table></div>
<p class="faint">{{ scores_note }}</p>
</section>
<section>
<h2>What costs most</h2>
<div class="scroll"><table class="table errors">
<thead><tr><th>Error</th><th class="text">What it is</th><th>From score {{ threshold }}</th><th>All scores</th>
<th class="text">AP50 gained without it</th></tr></thead>
<tbody>{% for row in errors %}<tr><td>{{ row.title }}</td><td class="text">{{ row.meaning }}</td>
<td>{{ row.shown }}</td><td>{{ row.all }}</td>
<td class="bar" style="--part:{{ row.part }}">{{ row.gain }}</td></tr>
{% endfor %}</tbody></table></div>
<p class="faint">Kinds and gains after TIDE (Bolya et al. 2020): AP50 if the errors of one kind alone were put right.
The gains do not add up, since errors hide behind each other.</p>
</section>
<section>
<h2>Classes ({{ classes|length }})</h2>
<div class="scroll"><table class="table">
<thead><tr><th data-kind="text"><button type="button">Class</button></th>
{% for name in class_columns %}<th><button type="button">{{ name }}</button></th>{% endfor %}</tr></thead>
<tbody>{% for c in classes %}<tr><td data-value="{{ c.name }}">{{ swatch(c.color) }}{{ c.name }}</td>
{% for cell in c.cells %}
<td{% if cell.value is not none %} data-value="{{ cell.value }}"{% endif %}
{% if cell.part %} class="bar" style="--part:{{ cell.part }}"{% endif %}>{{ cell.text }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p class="faint">The worst first; click a heading to sort. Best score: the threshold with the best balance of precision
and recall (F1) of that class at IoU 0.5, and what is reached with it.</p>
</section>
<section>
<h2>Precision and recall</h2>
<figure class="paper"><img src="{{ curves }}" alt="Precision against recall by class, at IoU 0.5 and 0.75"></figure>
</section>
<section>
<h2>What is taken for what</h2>
<p>{{ confusion_lead }}</p>
{% if confusion_pairs %}
<div class="scroll"><table class="table">
<thead><tr><th>It is</th><th class="text">Taken for</th><th>Times</th><th>Of its objects</th></tr></thead>
<tbody>{% for row in confusion_pairs %}<tr><td>{{ row.is }}</td><td class="text">{{ row.as }}</td>
<td>{{ row.count }}</td><td>{{ row.share }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
<figure class="paper"><img src="{{ confusion }}" alt="Confusion matrix"><figcaption>{{ confusion_note }}</figcaption>
</figure>
</section>
<section>
<h2>{{ worst_title }}</h2>
<p>{{ worst_lead }}</p>
<div class="worst">{% for image in worst %}
<figure>{% if image.picture %}<img src="{{ image.picture }}" loading="lazy"
alt="{{ image.file }}: what is there, beside what was found">
{% else %}<p class="faint">The picture could not be read.</p>{% endif %}
<figcaption><strong>{{ image.file }}</strong>: {{ image.found }}
<ul>{% for line in image.wrong %}<li>{{ line }}</li>{% endfor %}</ul></figcaption></figure>
{% endfor %}</div>
</section>
{% if training %}
<section>
<h2>Training</h2>
<figure class="paper"><img src="{{ training }}" alt="Curves of the training"></figure>
</section>
{% endif %}
{% endblock %}
{% block footer %}
AP: average precision as COCO defines it, 0 to 1: the mean over IoU 0.5 to 0.95; AP50 and AP75 at one IoU. IoU: overlap
of two boxes or masks, intersection over union.
{% endblock %}
"""
