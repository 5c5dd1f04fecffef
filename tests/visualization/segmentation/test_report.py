"""The page about a segmentor: what it says, what it shows, and what it must not do."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation import Pair, PreparedSegmentation
from densekit.errors import OutputError
from densekit.evaluation.segmentation import SegmentationCounts, count_image
from densekit.evaluation.segmentation.counts import pack_labels
from densekit.visualization.segmentation.report import write_segmentation_report

NAMES = ["road", "tree", "<car>", "never there"]


def prepared(folder, pairs, classes=NAMES):
    """A data set of these truths, whose images are of one colour."""
    lookup = np.full(65536, 255, np.uint8)
    lookup[:254] = np.arange(254)
    split = []
    for number, (truth, _) in enumerate(pairs):
        image, mask = folder / f"{number}.png", folder / f"mask_{number}.png"
        Image.new("RGB", truth.shape[::-1], (60, 90, 120)).save(image)
        Image.fromarray(truth).save(mask)
        split.append(Pair(str(image), str(mask), truth.shape[::-1]))
    about = {"root": folder, "name": "data", "format": "pairs", "layout": "", "channels": 3, "ranges": {}}
    colours = ((0, 0, 255), (0, 255, 0), (200, 0, 200), (9, 9, 9))
    return PreparedSegmentation(
        **about,
        classes=tuple(classes),
        lookup=lookup,
        colours=colours,
        splits={"val": tuple(split)},
        pixels={},
        findings=(),
        fingerprint="",
        folder=folder,
    )


def counted(folder, pairs, kept=(), **how):
    images = [(str(folder / f"{n}.png"), count_image(*pair, 4, **how)) for n, pair in enumerate(pairs)]
    return SegmentationCounts.join(NAMES, images, predictions={n: pack_labels(pairs[n][1]) for n in kept}, **how)


@pytest.fixture
def page(tmp_path):
    """Writes a report about pairs of truth and prediction and returns its HTML."""

    def write(pairs, *, kept=None, data=None, **options):
        data = data or prepared(tmp_path, pairs)
        counts = counted(tmp_path, pairs, range(len(pairs)) if kept is None else kept)
        options = {"title": "A segmentor", "facts": [("seed", "7")], **options}
        write_segmentation_report(tmp_path / "report.html", counts=counts, data=data, split="val", **options)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

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


def test_an_image_that_is_gone_is_drawn_on_black(page, pairs, tmp_path, caplog):
    data = prepared(tmp_path, pairs)
    (tmp_path / "0.png").unlink()
    assert len(pictures(page(pairs, kept=[0], data=data))) == 2
    assert "0.png: cannot be read" in caplog.text


def test_classes_are_those_of_the_model_by_name(page, pairs, tmp_path):
    data = prepared(
        tmp_path,
        [(np.array([2, 0, 1, 3], np.uint8)[truth], None) for truth, _ in pairs],
        ["tree", "<car>", "road", "never there"],
    )
    mixed = page(pairs, data=data)
    data = replace(prepared(tmp_path, pairs), colours=((200, 0, 200), (0, 0, 255), (0, 255, 0), (9, 9, 9)))
    assert pictures(page(pairs, data=data))[1].tobytes() == pictures(mixed)[1].tobytes()


def test_nothing_that_counts_gives_a_page_too(page):
    empty = np.full((6, 8), 255, np.uint8)
    text = words(page([(empty, np.zeros_like(empty))]))
    assert "No pixel of 1 image has a class, so nothing can be scored." in text
    assert "Where the errors lie" not in text and "What is taken for what" not in text


def test_without_boundaries_nothing_is_said_of_them(tmp_path, pairs):
    out, file = tmp_path / "report.html", tmp_path / "counts.npz"
    counted(tmp_path, pairs, boundary=None).write(file)
    write_segmentation_report(out, counts=file, data=prepared(tmp_path, pairs), split="val", title="")
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
