"""The page about a detector: what it says, what it shows, and what it must not do."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from densekit.errors import DataError, OutputError
from densekit.evaluation.detection import Comparison, read_detections, read_truth, score_all, worst_images
from densekit.visualization.detection import figures
from densekit.visualization.detection.figures import draw_pair
from densekit.visualization.detection.report import write_detection_report

SIZE = (120, 90)


def truth_of(objects, names, images=(1, 2)):
    return {
        "images": [{"id": i, "file_name": f"images/{i}.png", "width": SIZE[0], "height": SIZE[1]} for i in images],
        "annotations": [
            {"id": n, "image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (image, label, box) in enumerate(objects, start=1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
    }


def rows_of(*rows):
    return [{"image_id": i, "category_id": k, "bbox": box, "score": score} for i, k, box, score in rows]


@pytest.fixture
def page(tmp_path):
    """Writes a report and returns its HTML."""
    for image in (1, 2):
        path = tmp_path / "data" / "images" / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (60, 90, 120)).save(path)

    def write(truth, rows, **options):
        options = {"title": "A detector", "facts": [("seed", "7")], "max_dets": 100, **options}
        truth = read_truth(truth)
        found = read_detections(rows, truth)
        scores = score_all(truth, found, max_dets=options["max_dets"])
        out = tmp_path / "report.html"
        write_detection_report(out, truth=truth, detections=found, scores=scores, root=tmp_path / "data", **options)
        return out.read_text(encoding="utf-8")

    return write


@pytest.fixture
def cats():
    """Two cats and a dog; one cat found, the other missed, the dog taken for a cat."""
    objects = [(1, 0, [10, 10, 40, 40]), (1, 0, [70, 40, 30, 30]), (2, 1, [20, 20, 40, 40])]
    rows = rows_of((1, 0, [10, 10, 40, 40], 0.9), (2, 0, [20, 20, 40, 40], 0.95))
    return truth_of(objects, ["cat", "dog"]), rows


def words(html):
    """The text of a page, on one line."""
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(text.split())


def pictures(html):
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_lead_says_how_good_it_is_and_what_limits_it(page, cats):
    text = words(page(*cats))
    # Cats: hit in second place, one of two found: AP50 0.5 up to recall 0.5; dogs: 0.
    assert f"AP50 {0.5 * 51 / 101 / 2:.3f} on 2 images with 3 objects of 2 classes." in text
    assert "It loses most through objects that are taken for another class: without these AP50 would be" in text


def test_kinds_of_errors_come_with_their_costs_the_dearest_first(page, cats):
    html = page(*cats, threshold=0.5)
    table = words(html[html.index("What costs most") : html.index("Classes (2)")])
    kinds = re.findall(r"(Wrong class|Missed|Badly placed|Found twice|Nothing there) (?:an|no|the|a) ", table)
    assert kinds[:2] == ["Wrong class", "Missed"]
    assert "Wrong class an object of another class is there (IoU from 0.5), itself found or not 1 1 +" in table
    assert "Missed an object that no detection is about 1 1 +" in table
    assert "Nothing there no object is there (IoU below 0.1) 0 0 +0.000" in table


def test_classes_the_worst_first_with_their_best_threshold(page, cats):
    html = page(*cats)
    table = html[html.index("Classes (2)") : html.index("Precision and recall</h2>")]
    assert table.index(">dog<") < table.index(">cat<")
    cells = re.findall(r"<td[^>]*>\s*([^<]*?)\s*</td>", table[table.index(">cat<") :])
    assert cells[:4] == ["2", "0.252", "0.252", "0.252"]
    assert cells[-3:] == ["0.90", "0.50", "0.50"]  # the dog called a cat scores higher


def test_confusions_are_counted(page, cats):
    text = words(page(*cats, threshold=0.5))
    assert "Of 3 objects 1 are found, 1 not, but taken for another class, and 1 neither; 0 detections more" in text
    assert "dog cat 1 100 %" in text


def test_worst_images_are_shown_with_what_is_wrong(page, cats):
    html = page(*cats, threshold=0.5)
    text = words(html[html.index('<div class="worst">') :])
    assert text.index("2.png") < text.index("1.png")  # 1.95 against 1
    assert "2.png : 1 of 1 object not found, 1 of 1 detection wrong wrong class: dog taken for cat 0.95" in text
    assert "1.png : 1 of 2 objects not found, 0 of 1 detection wrong missed: cat" in text
    drawn = pictures(html)
    assert len(drawn) == 4  # curves, confusion matrix, two images
    assert all(picture.width > 2 * SIZE[0] for picture in drawn[2:])  # both sides, enlarged


def test_facts_and_curves_of_the_training_are_taken_in(page, cats, tmp_path):
    Image.new("RGB", (321, 123), (250, 250, 250)).save(tmp_path / "curves.png")
    html = page(*cats, curves=tmp_path / "curves.png", facts=[("data set", "cats & dogs"), ("seed", "7")])
    text = words(html)
    assert "data set cats &amp; dogs seed 7 annotations" in text
    assert "images 2, 0 of them without objects objects 3 detections 2" in text
    assert pictures(html)[-1].size == (321, 123)
    assert "<h2>Training</h2>" in html and "<h2>Training</h2>" not in page(*cats)


def test_only_so_many_detections_count_as_asked_for(page, cats):
    truth, rows = cats
    rows = [*rows, *rows_of((1, 0, [70, 40, 30, 30], 0.1))]  # the other cat, second in its image
    whole, first = page(truth, rows), page(truth, rows, max_dets=1)
    assert "AP 0.333" in whole and "the 100 best of each class and image, COCO" in whole  # cats 2/3, no dog
    assert "AP 0.126" in first and "the 1 best of each class and image<" in first  # cats 51 of 101 recalls at 1/2


def test_what_cannot_be_read_is_left_out_and_logged(page, cats, tmp_path, caplog):
    (tmp_path / "data" / "images" / "2.png").write_bytes(b"no image")
    html = page(*cats, curves=tmp_path / "none.png", threshold=0.5)
    assert len(pictures(html)) == 3 and "The image could not be read." in html
    assert "2.png: cannot be read" in caplog.text and "none.png: cannot be read" in caplog.text


def test_page_needs_nothing_from_elsewhere_and_escapes_names(page):
    evil = "<script>alert(1)</script>"
    truth = truth_of([(1, 0, [10, 10, 40, 40])], [evil, "$a_b$"])
    truth["images"][0]["file_name"] = f"images/{evil}.png"
    html = page(truth, rows_of((1, 1, [10, 10, 40, 40], 0.9)), title=evil, facts=[(evil, evil)], threshold=0.5)
    assert evil not in html and html.count("&lt;script&gt;") > 5
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_masks_are_scored_and_drawn_where_there_are_any(page, cats):
    truth, rows = cats
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    for row in rows:
        x, y, w, h = row["bbox"]
        mask = np.zeros(SIZE[::-1], bool)
        mask[y : y + h, x : x + w // 4] = True  # a quarter of the object, in a box that is right
        changes = np.flatnonzero(np.diff(np.r_[False, mask.ravel(order="F"), False]))
        row["segmentation"] = {
            "size": list(SIZE[::-1]),
            "counts": np.diff(changes, prepend=0, append=mask.size).tolist(),
        }
    text = words(page(truth, rows, threshold=0.5))
    assert text.count("Mask AP 0.000") == 1 and "compared by masks" in text
    assert re.search(r"Masks 0\.000 0\.000 0\.000 .* Boxes 0\.126 0\.126", text)
    assert "badly placed: cat 0.90 (IoU 0.25)" in text
    for annotation in truth["annotations"]:
        del annotation["segmentation"]
    assert "compared by boxes" in words(page(truth, rows))


def test_nothing_found(page, cats):
    text = words(page(cats[0], []))
    assert "AP50 0.000" in text and "Nothing was detected." in text
    assert "missed: 2 cat" in text


def test_nothing_to_find(page):
    text = words(page(truth_of([], ["cat"]), rows_of((1, 0, [10, 10, 40, 40], 0.9))))
    assert "AP –, AP50 – on 2 images with 0 objects of 0 classes. There is nothing to find" in text


def test_no_errors(page):
    objects = [(1, 0, [10, 10, 40, 40])]
    text = words(page(truth_of(objects, ["cat"]), rows_of((1, 0, [10, 10, 40, 40], 0.9))))
    assert "AP 1.000, AP50 1.000 on 2 images with 1 object of 1 class. No kind of error costs any AP50." in text
    assert "No image has an error Every object is found, and nothing else, from score 0.90 on." in text


def test_eighty_classes_stay_readable(page):
    rng = np.random.default_rng(0)
    names = [f"class {n}" for n in range(80)]
    boxes = [[int(x), int(y), 20, 20] for x, y in rng.integers(0, 60, (160, 2))]
    truth = truth_of([(1 + n % 2, n % 80, box) for n, box in enumerate(boxes)], names)
    rows = rows_of(*((1 + n % 2, (n + (n % 3 == 0)) % 80, box, 0.2 + n / 250) for n, box in enumerate(boxes)))
    html = page(truth, rows)
    assert "24 of 80 classes are drawn" in html
    curves, matrix, *_ = pictures(html)
    assert curves.width < 1600 and matrix.width < 1600 and matrix.height < 1400
    assert words(html).count("taken for") < 80


def test_bad_input_leaves_no_file(page, cats, tmp_path):
    truth, rows = cats
    objects, other = read_truth(truth), read_truth(truth_of([], ["cat"], images=(1,)))
    scores = score_all(objects, read_detections(rows, objects))
    with pytest.raises(DataError, match="the detections are in other images"):
        write_detection_report(
            tmp_path / "report.html",
            truth=objects,
            detections=read_detections([], other),
            scores=scores,
            root=tmp_path,
            title="",
        )
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="there is a folder of that name"):
        page(truth, rows)


def test_discs_mark_what_is_not_found_and_what_is_wrong(cats):
    truth, rows = cats
    comparison = Comparison(truth, rows)
    image = Image.new("RGB", SIZE, (0, 0, 0))
    worst = next(i for i in worst_images(truth, rows, threshold=0.5) if i.image_id == 1)
    drawn = np.asarray(draw_pair(image, comparison, worst, 0.5)).astype(int)
    red = (drawn == figures._MARK).all(axis=2)  # no other colour is it, that of a class may be near
    columns = np.flatnonzero(red.any(axis=0))
    half = drawn.shape[1] / 2
    # One disc only: at the upper right corner of the cat that is missed (box to x = 100 of 120), none at what is found.
    assert len(columns) and columns.max() < half
    assert columns.min() / half > 0.7
    middle = (columns.min() + columns.max()) / 2
    assert middle / half * SIZE[0] == pytest.approx(98, abs=4)
