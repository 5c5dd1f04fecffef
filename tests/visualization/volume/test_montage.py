import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from densekit.errors import OutputError
from densekit.visualization.shared.palette import label_color
from densekit.visualization.shared.sheet import SMALL
from densekit.visualization.volume.montage import ValidationRow, validation_picture, write_montage

NAMES = ["background", "liver", "spleen", "gallbladder"]
SHAPE = (24, 20, 30)
SPACING = (4.0, 3.0, 2.0)
GREY = 128  # what 50 becomes in WINDOW
WINDOW = (0.0, 100.0)


def abdomen() -> tuple[np.ndarray, np.ndarray]:
    image = np.full(SHAPE, 50, np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[12:22, 3:12, 2:12] = 1  # superior, anterior, on the patient's right
    labels[14:20, 12:17, 22:27] = 2  # on the patient's left
    return image, labels


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def panels(path) -> list[np.ndarray]:
    """The slices in a picture of a constant image, in reading order: the large areas that are not page."""
    picture = pixels(path)
    regions, _ = ndimage.label((picture == GREY).all(axis=2))
    boxes = [box for box in ndimage.find_objects(regions) if np.prod([s.stop - s.start for s in box]) > 4000]
    return [picture[box] for box in sorted(boxes, key=lambda box: (box[0].start, box[1].start))]


def where(panel: np.ndarray, label: int) -> tuple[float, float]:
    rows, columns = np.nonzero((panel == label_color(label)).all(axis=2))
    assert rows.size, f"label {label} is not drawn"
    return rows.mean() / panel.shape[0], columns.mean() / panel.shape[1]


def test_montage_shows_four_axial_slices_and_two_others_the_right_way_round(tmp_path):
    image, labels = abdomen()
    write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=SPACING, title="case 1", window=WINDOW)
    found = panels(tmp_path / "m.png")
    assert len(found) == 6
    axial, coronal, sagittal = found[1], found[4], found[5]
    liver, spleen = where(axial, 1), where(axial, 2)
    assert liver[1] < 0.5 < spleen[1] and liver[0] < spleen[0]
    assert where(coronal, 1)[0] < 0.5 and where(coronal, 1)[1] < 0.5
    assert where(sagittal, 1)[0] < 0.5 and where(sagittal, 1)[1] < 0.5


def test_montage_keeps_physical_proportions_at_one_scale(tmp_path):
    image, labels = abdomen()
    write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=SPACING, window=WINDOW)
    depth, height, width = (n * mm for n, mm in zip(SHAPE, SPACING, strict=True))
    found = panels(tmp_path / "m.png")
    scale = found[0].shape[1] / width
    for panel, size in ((found[0], (height, width)), (found[4], (depth, width)), (found[5], (depth, height))):
        assert panel.shape[:2] == pytest.approx([mm * scale for mm in size], abs=1.5)


def test_montage_with_reference_shows_both_beside_each_other(tmp_path):
    image, labels = abdomen()
    reference = labels.copy()
    reference[labels == 2] = 3
    write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=SPACING, reference=reference, window=WINDOW)
    found = panels(tmp_path / "m.png")
    assert len(found) == 12
    prediction, expected = found[2], found[3]
    assert where(prediction, 2) == where(expected, 3)
    assert where(prediction, 1) == where(expected, 1)


def test_montage_legend_has_the_colors_of_the_labels_that_occur(tmp_path):
    image, labels = abdomen()
    labels[13, 2, 20] = 7  # a value beyond the names
    write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=SPACING, window=WINDOW)
    picture = pixels(tmp_path / "m.png")
    in_panels = sum(np.count_nonzero((p == label_color(3)).all(axis=2)) for p in panels(tmp_path / "m.png"))
    for label, occurs in ((1, True), (2, True), (7, True), (3, False)):
        regions, _ = ndimage.label((picture == label_color(label)).all(axis=2))
        squares = [b for b in ndimage.find_objects(regions) if {s.stop - s.start for s in b} == {17}]
        assert bool(squares) == occurs, label
    assert in_panels == 0


@pytest.mark.parametrize("labels", [None, np.zeros(SHAPE, np.uint8)])
def test_montage_without_labels_shows_the_image(tmp_path, labels):
    write_montage(tmp_path / "m.png", np.full(SHAPE, 50, np.int16), labels, names=NAMES, spacing=SPACING, window=WINDOW)
    assert len(panels(tmp_path / "m.png")) == 6


def test_montage_of_few_slices_leaves_out_the_views_that_show_nothing(tmp_path):
    image = np.full((2, 40, 40), 50, np.int16)
    labels = np.zeros(image.shape, np.uint8)
    labels[:, 5:9, 5:9] = 1
    write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=(1.0, 1.0, 1.0), window=WINDOW)
    assert len(panels(tmp_path / "m.png")) == 2


def test_montage_of_a_long_thin_volume_stays_small(tmp_path):
    image = np.full((400, 10, 10), 50, np.int16)
    write_montage(tmp_path / "m.png", image, None, names=[], spacing=(5.0, 1.0, 1.0), window=WINDOW)
    height, width, _ = pixels(tmp_path / "m.png").shape
    assert width < 2000 and height < 1200


def test_a_remark_is_a_line_below_the_title_no_wider_than_the_picture(tmp_path):
    image, labels = abdomen()
    sheets = []
    for remark in ("", "suspicious: CT is not in the unit", "suspicious: " + "CT " * 500):
        path = tmp_path / "m.png"
        write_montage(path, image, labels, names=NAMES, spacing=SPACING, title="case 1", remark=remark, window=WINDOW)
        sheets.append(pixels(path))
    plain, short, long = (sheet.shape for sheet in sheets)
    assert short == long == (plain[0] + SMALL + 8, *plain[1:])
    assert (sheets[1] != sheets[2]).any()


def test_montage_takes_any_title_and_name(tmp_path):
    image, labels = abdomen()
    names = ["background", "l" * 500, "two\nlines", "caf\udce9"]
    for title in ("a" * 1000, "two\nlines", "not UTF-8 \udce9", "<b>", ""):
        write_montage(tmp_path / "m.png", image, labels + labels // 2, names=names, spacing=SPACING, title=title)
        assert pixels(tmp_path / "m.png").shape[1] < 2000


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (np.zeros((4, 4)), None, "D, H, W"),
        (np.zeros((4, 4, 4)), np.zeros((4, 4, 5), int), "do not fit"),
        (np.zeros((4, 4, 4)), np.zeros((4, 4, 4), float), "integer"),
        (np.zeros((4, 4, 4)), np.full((4, 4, 4), -1), "from -1"),
    ],
)
def test_montage_refuses_what_is_not_a_volume_with_labels(tmp_path, image, labels, message):
    with pytest.raises(ValueError, match=message):
        write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=(1, 1, 1))
    assert not list(tmp_path.iterdir())


def test_montage_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    image, labels = abdomen()
    (tmp_path / "m.png").mkdir()
    with pytest.raises(OutputError, match=r"m\.png"):
        write_montage(tmp_path / "m.png", image, labels, names=NAMES, spacing=SPACING)
    assert [p.name for p in tmp_path.iterdir()] == ["m.png"]


def case(case_id: str, labelled: int, *, reference_value: int = 1) -> ValidationRow:
    image = np.full(SHAPE, 50, np.float32)
    image[0, 0, 0], image[1, 1, 1] = 0, 100  # so that 50 is grey 128 by percentiles, too
    reference = np.zeros(SHAPE, np.uint8)
    reference[labelled, 2:8, 2:8] = reference_value
    prediction = np.zeros(SHAPE, np.uint8)
    prediction[labelled, 2:8, 20:26] = 2
    return ValidationRow.draw(case_id, image, prediction, reference, SPACING)


def test_validation_picture_has_image_prediction_and_reference_of_each_case(tmp_path, monkeypatch):
    monkeypatch.setattr("densekit.visualization.volume.montage.display_window", lambda image: WINDOW)
    path = tmp_path / "v.png"
    validation_picture(path, [case("a", 5), case("b", 20)], names=NAMES, title="epoch 3")
    found = panels(path)
    assert len(found) == 6
    for image, prediction, reference in (found[:3], found[3:]):
        assert not (image == label_color(1)).all(axis=2).any()
        assert where(prediction, 2)[1] > 0.5 > where(reference, 1)[1]


def test_validation_picture_of_a_case_without_reference_voxels_shows_the_prediction(tmp_path, monkeypatch):
    monkeypatch.setattr("densekit.visualization.volume.montage.display_window", lambda image: WINDOW)
    validation_picture(tmp_path / "v.png", [case("a", 5, reference_value=0)], names=NAMES)
    where(panels(tmp_path / "v.png")[1], 2)


def test_validation_picture_has_a_row_for_each_of_any_number_of_cases(tmp_path, monkeypatch):
    monkeypatch.setattr("densekit.visualization.volume.montage.display_window", lambda image: WINDOW)
    validation_picture(tmp_path / "v.png", [case(str(i), 5) for i in range(6)], names=NAMES)
    assert len(panels(tmp_path / "v.png")) == 18
    with pytest.raises(ValueError, match="one case or more"):
        validation_picture(tmp_path / "none.png", [], names=NAMES)
