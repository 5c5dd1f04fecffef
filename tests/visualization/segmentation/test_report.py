"""The page about a segmentor: what it says, what it shows, and what it must not do."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from densekit.errors import OutputError
from densekit.evaluation.segmentation import SegmentationCounts, count_image, score_all
from densekit.evaluation.segmentation.counts import pack_labels
from densekit.visualization.segmentation.report import write_segmentation_report

NAMES = ["road", "tree", "<car>", "never there"]


@pytest.fixture
def page(tmp_path):
    """Writes a report about pairs of truth and prediction and returns its HTML."""

    def write(pairs, *, kept=None, **options):
        files = [str(tmp_path / f"{number}.png") for number in range(len(pairs))]
        for file, (truth, _) in zip(files, pairs, strict=True):
            Image.new("RGB", truth.shape[::-1], (60, 90, 120)).save(file)
        images = [(file, count_image(*pair, 4)) for file, pair in zip(files, pairs, strict=True)]
        kept = range(len(pairs)) if kept is None else kept
        counts = SegmentationCounts.join(NAMES, images, predictions={n: pack_labels(pairs[n][1]) for n in kept})
        truths = {file: truth for file, (truth, _) in zip(files, pairs, strict=True)}
        out = tmp_path / "report.html"
        options = {"title": "A segmentor", "facts": [("seed", "7")], **options}
        write_segmentation_report(out, counts=counts, scores=score_all(counts), truth=truths.__getitem__, **options)
        return out.read_text(encoding="utf-8")

    return write


@pytest.fixture
def pairs():
    """Two images: in the first half of the trees is taken for cars and the border of the road lies askew."""
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 1
    truth[:10, :10] = 2
    found = truth.copy()
    found[30:, 45:] = 2
    found[:, 40] = 0
    return [(truth, found), (truth, truth)]


def words(html):
    """The text of a page, on one line."""
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(text.split())


def pictures(html):
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_lead_says_how_good_it_is_and_where_the_errors_lie(page, pairs):
    text = words(page(pairs))
    wrong, total = 30 * 35 + 60, 2 * 60 * 80
    assert f"over 3 classes on 2 images; {100 * (1 - wrong / total):.1f} % of the pixels are right." in text
    share = 100 * 30 * 35 / wrong
    assert f"{share:.1f} % of the wrong ones lie in areas that were found in part." in text
    assert f"Confusion {share:.1f} %" in text and "95 % interval" in text and "So few images say little" in text


def test_what_is_taken_for_what_is_said_and_drawn(page, pairs):
    html = page(pairs)
    text = words(html)
    assert f"tree &lt;car&gt; 1,050 {100 * 1050 / 4800:.1f} %" in text
    assert "tree taken for &lt;car&gt;: 43.8 % of its pixels" in text
    assert "of the errors: boundary 5.4 %, confusion 94.6 %" in text
    assert len(pictures(html)) == 1 + 2  # the matrix and the images


def test_classes_that_are_not_there_have_no_score(page, pairs):
    text = words(page(pairs))
    assert "3 in these images, 1 more are in none of them" in text
    assert re.search(r"never there 0 0 (– ?){5}", text)


def test_the_worst_image_is_first_and_only_those_kept_are_shown(page, pairs):
    html = page([pairs[1], pairs[0]], kept=[1, 0], worst=1)
    assert "1.png" in words(html) and "0.png" not in words(html)
    assert "No image to show" in words(page(pairs, kept=[]))


def test_an_image_that_is_gone_is_drawn_on_black(pairs, tmp_path, caplog):
    images = [(str(tmp_path / "gone.png"), count_image(*pairs[0], 4))]
    counts = SegmentationCounts.join(NAMES, images, predictions={0: pack_labels(pairs[0][1])})
    out = tmp_path / "report.html"
    write_segmentation_report(out, counts=counts, scores=score_all(counts), truth=lambda _: pairs[0][0], title="")
    assert "gone.png: cannot be read" in caplog.text
    assert len(pictures(out.read_text(encoding="utf-8"))) == 2


def test_nothing_that_counts_gives_a_page_too(page):
    empty = np.full((6, 8), 255, np.uint8)
    text = words(page([(empty, np.zeros_like(empty))]))
    assert "No pixel of 1 image has a class, so nothing can be scored." in text
    assert "Where the errors lie" not in text and "What is taken for what" not in text


def test_without_boundaries_nothing_is_said_of_them(tmp_path, pairs):
    images = [(f"{n}.png", count_image(*pair, 4, boundary=None)) for n, pair in enumerate(pairs)]
    counts = SegmentationCounts.join(NAMES, images, boundary=None)
    out = tmp_path / "r.html"
    write_segmentation_report(out, counts=counts, scores=score_all(counts), truth={}.__getitem__, title="")
    text = words(out.read_text(encoding="utf-8"))
    assert "Where the errors lie" not in text and "IoU of the boundaries" not in text and "nan" not in text


def test_the_page_is_self_contained_and_escapes_what_it_is_given(page, pairs):
    html = page(pairs, title="<script>alert(1)</script>")
    assert "<script>alert" not in html and "<car>" not in html
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert "prefers-color-scheme: dark" in html


def test_a_page_that_cannot_be_written_is_named(page, pairs, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="there is a folder of that name"):
        page(pairs)
