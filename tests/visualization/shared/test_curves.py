from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from densekit.errors import DataError
from densekit.visualization.shared.curves import ScoreCurve, _draw_score, read_scalars, smooth
from densekit.visualization.shared.curves import write_curves as draw
from densekit.visualization.shared.palette import label_color

DICE = ScoreCurve("dice", "Validation Dice", "per structure", background=True)
BOXES = ScoreCurve("AP", "Validation AP", "per class", ("AP50", "AP75"))
MASKS = ScoreCurve("mask_AP", "Validation AP", "per class", ("mask_AP50", "AP", "AP50"))
write_curves = partial(draw, score=DICE)

HEADER = "step,epoch,split,name,value\n"


def log(path, text: str):
    path.write_text(HEADER + text)
    return path


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def has_color(path, label: int) -> bool:
    return bool((pixels(path) == label_color(label)).all(axis=2).any())


def test_scalars_are_read_by_split_and_name_in_the_order_of_steps(tmp_path):
    path = log(tmp_path / "s.csv", "20,1,train,loss,0.5\n10,1,train,loss,1.5\n20,1,val,dice/left kidney,0.8\n")
    assert read_scalars(path) == {"train/loss": [(10, 1.5), (20, 0.5)], "val/dice/left kidney": [(20, 0.8)]}


def test_a_step_logged_again_after_a_resume_counts_once(tmp_path):
    first = log(tmp_path / "a.csv", "10,1,train,loss,3\n20,1,train,loss,2\n")
    second = log(tmp_path / "b.csv", "20,1,train,loss,1\n30,2,train,loss,0\n")
    assert read_scalars([first, second]) == {"train/loss": [(10, 3), (20, 1), (30, 0)]}


def test_half_a_last_line_is_left_out_and_reported(tmp_path, caplog):
    path = log(tmp_path / "s.csv", "10,1,train,loss,3\n20,1,tra")
    assert read_scalars(path) == {"train/loss": [(10, 3)]}
    assert "line 3" in caplog.text


def test_missing_file_and_foreign_csv_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: no such file"):
        read_scalars(tmp_path / "nothing.csv")
    (tmp_path / "s.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"s\.csv: column 'step' is missing"):
        read_scalars(tmp_path / "s.csv")


def test_smoothing_is_unbiased_and_passes_over_nan():
    assert smooth(np.full(5, 2.0), span=10) == pytest.approx(np.full(5, 2.0))
    assert smooth(np.array([1.0, 3.0]), span=1) == pytest.approx([1.0, 3.0])
    # span 3: each older value weighs half of the next
    assert smooth(np.array([np.nan, 1.0, np.inf, 4.0]), span=3)[1:] == pytest.approx([1, 1, (4 + 0.5) / 1.5])
    assert np.isnan(smooth(np.array([np.nan]), span=3)).all()


def test_structures_have_the_colors_of_their_labels(tmp_path):
    rows = "".join(f"{step},1,val,dice/spleen,{step / 400}\n" for step in (100, 200, 300))
    path = log(tmp_path / "s.csv", "100,1,train,loss,1\n200,1,train,loss,0.5\n100,1,train,lr,0.1\n" + rows)
    write_curves(path, tmp_path / "c.png", names=["background", "liver", "spleen"], title="a run")
    assert pixels(tmp_path / "c.png").shape == (816, 1440, 3)
    assert has_color(tmp_path / "c.png", 2) and not has_color(tmp_path / "c.png", 1)
    write_curves(path, tmp_path / "c.png")
    assert has_color(tmp_path / "c.png", 1)


def test_classes_of_a_detector_have_the_colors_of_their_boxes(tmp_path):
    # its names have no background: the first is label 0, whose boxes have the first color
    rows = "".join(f"{step},1,val,AP/dog,{step / 400}\n" for step in (100, 200, 300))
    path = log(tmp_path / "s.csv", "100,1,train,loss,1\n100,1,val,AP,0.2\n" + rows)
    write_curves(path, tmp_path / "c.png", score=BOXES, names=["cat", "dog", "bird"])
    assert has_color(tmp_path / "c.png", 2)
    assert not has_color(tmp_path / "c.png", 1) and not has_color(tmp_path / "c.png", 3)


def test_the_classes_of_a_network_with_masks_are_those_of_its_masks(tmp_path):
    boxes = {"val/AP": [(1, 0.5), (2, 0.6)], "val/AP/cat": [(1, 0.5), (2, 0.6)]}
    write_curves(boxes, tmp_path / "boxes.png", score=BOXES, names=["cat", "dog"])
    assert has_color(tmp_path / "boxes.png", 1)
    masks = {"val/mask_AP": [(1, 0.4), (2, 0.5)], "val/mask_AP/dog": [(1, 0.4), (2, 0.5)]}
    write_curves(boxes | masks, tmp_path / "masks.png", score=MASKS, names=["cat", "dog"])
    assert has_color(tmp_path / "masks.png", 2) and not has_color(tmp_path / "masks.png", 1)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (ScoreCurve("mIoU", "", "", ("mAcc",)), ["mIoU", "mAcc"]),
        (ScoreCurve("mask_AP", "", "", ("AP",)), ["AP of masks", "AP of boxes"]),
    ],
)
def test_a_legend_says_boxes_or_masks_only_where_there_are_both(score, words):
    axes = Figure().subplots()
    _draw_score(axes, {f"val/{name}": np.array([[1, 0.5]]) for name in (score.key, *score.beside)}, score)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == words


def test_the_parts_of_the_loss_are_drawn_beside_it(tmp_path):
    steps = range(10, 200, 10)
    whole = {"train/loss": [(step, 3.0) for step in steps], "train/acc": [(step, 90.0) for step in steps]}
    write_curves(whole, tmp_path / "whole.png")
    parts = {f"train/loss_{name}": [(step, value) for step in steps] for name, value in (("cls", 2.0), ("bbox", 1.0))}
    write_curves(whole | parts, tmp_path / "parts.png")
    for label in (3, 4):
        assert has_color(tmp_path / "parts.png", label) and not has_color(tmp_path / "whole.png", label)


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"train/loss": [(1, float("nan"))], "train/lr": [(1, 0.0)], "val/dice": [(1, float("nan"))]},
        {"val/loss": [(1, 2.0)], "val/dice/a$b_{": [(1, float("nan")), (2, 0.4)], "val/dice": [(1, 0.0)]},
        {f"val/dice/structure {i}": [(0, 0.0), (5, 1.0)] for i in range(40)},
        {"train/loss_bbox": [(1, float("nan"))], "train/loss_cls": [(1, float("inf"))], "train/loss": [(1, 1.0)]},
        {"val/AP": [(1, float("nan"))], "val/AP50": [(1, 0.0)], "val/AP/cat": [(1, float("nan"))]},
        {"val/AP": [(1, 1.0)], "val/AP50": [(1, 1.0)], "val/AP75": [(1, float("nan"))], "val/AP_small": [(1, 1.0)]},
        {f"val/mask_AP/class {i}": [(1, 0.0)] for i in range(80)} | {"val/mask_AP": [(1, 0.0)]},
        {f"train/d{i}.loss_{kind}": [(1, 1.0), (2, 0.5)] for i in range(6) for kind in ("cls", "bbox")}
        | {"train/loss": [(1, 9.0), (2, 5.0)]},
    ],
    ids=[
        "nothing",
        "all NaN",
        "odd name",
        "many structures",
        "parts NaN",
        "AP NaN",
        "one validation",
        "many classes",
        "many losses",
    ],
)
@pytest.mark.filterwarnings("error")
def test_any_record_can_be_drawn(tmp_path, series):
    write_curves(series, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").shape == (816, 1440, 3)


def test_a_log_without_rows_yet_can_be_drawn(tmp_path):
    write_curves(log(tmp_path / "s.csv", ""), tmp_path / "c.png")
    assert (tmp_path / "c.png").is_file()
