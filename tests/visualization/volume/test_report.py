import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from densekit.visualization.shared.thumbnails import data_uri
from densekit.visualization.volume.report import CaseReport, write_prediction_report, write_training_report

LABELS = ["background", "liver", "left kidney"]
NASTY = "<script>alert(\"1\")</script> & 'x'.nii"


class Page(HTMLParser):
    """Text, tags and table cells of a page; fails on a tag that is not closed by its own."""

    VOID = ("meta", "link", "img", "br", "line", "circle")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.rows: list[list[str]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        return next(row for row in ([" ".join(c.split()) for c in r] for r in self.rows) if row[0] == first)


def case(case_id: str, liver: float = 1500.0, kidney: float = 150.0, **changes) -> CaseReport:
    content = {
        "case_id": case_id,
        "status": "ok",
        "reason": None,
        "volumes_ml": {"liver": liver, "left kidney": kidney},
        "notes": [],
        "seconds": 2.0,
        "picture": None,
        "spacing": (0.78, 0.78, 3.0),
        "shape": (512, 512, 100),
    }
    return CaseReport(**(content | changes))


def failed(case_id: str, reason: str) -> CaseReport:
    return case(case_id, status="failed", reason=reason, volumes_ml={}, spacing=(), shape=())


def predict(tmp_path, cases, **changes) -> tuple[str, Page]:
    arguments = {"title": "Run", "cases": cases, "labels": LABELS, "settings": {"Overlap": 0.5}} | changes
    write_prediction_report(tmp_path / "report.html", **arguments)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_texts_are_escaped_and_nothing_is_fetched(tmp_path):
    bad = failed(NASTY, NASTY)
    html, page = predict(
        tmp_path,
        [case(NASTY, notes=[NASTY]), case("b"), bad],
        title=NASTY,
        settings={NASTY: {"a": NASTY}},
    )
    assert 'alert("1")' not in html
    assert page.text.count(NASTY) >= 7
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert not re.search(r"https?:|url\(|@import|src=\"(?!data:)", html)
    assert "default-src 'none'" in html
    assert "For research use only, not a medical device" in page.text


def test_failed_cases_come_first_in_words(tmp_path):
    _, page = predict(tmp_path, [case("good"), failed("broken", "broken.nii.gz: truncated gzip; copy it again")])
    assert "2 scans: 1 segmented, 1 failed, in 4.0 s." in page.text
    reason = page.text.index("broken.nii.gz: truncated gzip; copy it again")
    assert reason < page.text.index("512 × 512 × 100 voxels of 0.78 × 0.78 × 3 mm")


def test_a_run_in_which_everything_failed_is_reported(tmp_path):
    _, page = predict(tmp_path, [failed("a", "no"), failed("b", "no")])
    assert "2 scans: 0 segmented, 2 failed" in page.text


def test_cohort_table_has_the_right_numbers(tmp_path):
    _, page = predict(tmp_path, [case("a", 1400, 4.0), case("b", 1600, 0.0), case("c", 1500, 6.0)])
    assert page.row("liver")[:6] == ["liver", "3 of 3", "1500.0", "100.0", "1400.0", "1600.0"]
    assert page.row("left kidney")[:6] == ["left kidney", "2 of 3", "5.00", "1.41", "4.00", "6.00"]
    assert page.row("b") == ["b", "1600.0", "not found"]
    assert "left kidney was not found in b" in page.text


def test_cells_carry_the_numbers_that_sorting_needs(tmp_path):
    _, page = predict(tmp_path, [case("a", 1400.25, 0.0), case("b", 900.0)])
    values = [attrs["data-value"] for tag, attrs in page.tags if tag == "td" and "data-value" in attrs]
    assert values == ["a", "1400.25", "0.0", "b", "900.0", "150.0"]


def test_volumes_that_stand_out_are_marked_and_named(tmp_path):
    cases = [case(str(i), liver) for i, liver in enumerate((1500, 1520, 1480, 1510, 1490, 3900))]
    _, page = predict(tmp_path, cases)
    assert page.row("5")[1] == "3900.0 ▲"
    assert page.row("0")[1] == "1500.0"
    assert re.search(r"5: liver 3900\.0 ml stands out \(cohort median 1505\.0 ml, robust z \+\d+", page.text)
    _, page = predict(tmp_path, cases[-4:])
    assert "▲" not in page.text


def test_what_is_far_below_is_marked_downwards(tmp_path):
    cases = [case(str(i), liver) for i, liver in enumerate((1500, 1520, 1480, 1510, 1490, 390, 3900))]
    _, page = predict(tmp_path, cases)
    assert (page.row("5")[1], page.row("6")[1]) == ("390.0 ▼", "3900.0 ▲")


def test_volumes_are_judged_by_factors_as_densekit_check_does(tmp_path):
    _, page = predict(tmp_path, [case(str(i), 100.0 * 2**i) for i in range(7)])
    assert "stands out" not in page.text


def test_one_case_needs_no_cohort(tmp_path):
    _, page = predict(tmp_path, [case("only", notes=["spacing was guessed"])])
    assert "over the cohort" not in page.text
    assert "1500.0 ml" in page.text and "spacing was guessed" in page.text
    assert "There are notes on only" in page.text


def test_pictures_are_embedded_and_a_missing_one_is_said(tmp_path, caplog):
    Image.new("RGB", (60, 40), (200, 30, 40)).save(tmp_path / "a.png")
    html, page = predict(tmp_path, [case("a", picture=tmp_path / "a.png"), case("b", picture=tmp_path / "gone.png")])
    (source,) = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    picture = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
    assert picture.size == (60, 40)
    assert picture.convert("RGB").getpixel((30, 20)) == pytest.approx((200, 30, 40), abs=6)
    assert "gone.png" in caplog.text and "could not be read" in page.text
    assert str(tmp_path) not in html


def test_a_picture_larger_than_webp_holds_is_embedded_as_png():
    kinds = [data_uri(Image.new("RGB", size)).partition(";")[0] for size in ((16383, 2), (2, 16384))]
    assert kinds == ["data:image/webp", "data:image/png"]


def test_settings_are_written_as_a_reader_expects(tmp_path):
    settings = {"Spacing": (3.0, 0.76, 0.76), "Mirroring": False, "Seed": None, "Versions": {"torch": "2.8"}}
    _, page = predict(tmp_path, [case("a")], settings=settings)
    shown = {row[0]: row[1] for row in page.rows}
    assert shown == {"Spacing": "3, 0.76, 0.76", "Mirroring": "no", "Seed": "–", "Versions": "torch: 2.8"}


def test_a_file_name_that_is_not_utf8_does_not_stop_the_report(tmp_path):
    _, page = predict(tmp_path, [case("caf\udce9")])
    assert "caf?" in page.text


def test_what_does_not_belong_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tail"):
        predict(tmp_path, [case("a", volumes_ml={"tail": 3.0})])
    with pytest.raises(ValueError, match="'fine'"):
        case("a", status="fine")
    assert not list(tmp_path.iterdir())


def train(tmp_path, **changes) -> tuple[str, Page]:
    arguments = {
        "title": "Training",
        "facts": {"Model": "D-Former"},
        "curves_png": None,
        "rows": [],
        "pictures": [],
        "prediction": None,
    }
    write_training_report(tmp_path / "report.html", **(arguments | changes))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_training_report_has_facts_scores_pictures_and_the_unseen_volume(tmp_path):
    for name in ("curves", "epoch_0003"):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{name}.png")
    html, page = train(
        tmp_path,
        facts={"Model": NASTY},
        curves_png=tmp_path / "curves.png",
        rows=[{"Structure": "liver", "Dice": 0.9512, "Cases": 4}, {"Structure": "mean", "Dice": float("nan")}],
        pictures=[tmp_path / "epoch_0003.png"],
        prediction=case("unseen"),
        labels=LABELS,
    )
    assert page.row("Model") == ["Model", NASTY]
    assert page.row("liver") == ["liver", "0.951", "4"]
    assert page.row("mean") == ["mean", "–", "–"]
    assert 'style="--part:95.1%"' in html
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2
    assert "epoch 0003" in page.text and "unseen" in page.text and "1500.0 ml" in page.text
    assert not re.search(r"https?:", html)


def test_training_report_without_anything_else_and_with_a_failed_prediction(tmp_path):
    _, page = train(tmp_path)
    assert "D-Former" in page.text and "Scores" not in page.text
    _, page = train(tmp_path, prediction=failed("unseen", "out of memory"))
    assert "out of memory" in page.text
