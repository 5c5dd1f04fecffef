"""Folds of images: a patient, or an image and its copies, is on one side only."""

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.shared.folds import Fold
from densekit.datasets.shared.image_files import read_headers
from densekit.datasets.shared.image_folds import image_folds, read_image_table
from densekit.errors import ConfigError

FILES = [f"images/{n:02d}.png" for n in range(12)]


def divided(root, files, table=None, number=3, tags=None):
    headers = read_headers([str(root / file) for file in files])
    return image_folds(files, root, headers, tags or {}, Fold(number, 0, table))


def together(splits, files):
    """Whether these images validate in one fold."""
    return any(set(files) <= set(fold["val"]) for fold in splits.folds)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def images(tmp_path):
    for number, file in enumerate(FILES):
        save(tmp_path / file, np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("beside", [False, True])
def test_a_table_keeps_patients_together(images, beside):
    rows = [f"{n:02d}.png,train,p{n // 3}" for n in range(12)]
    path = images / ("splits.csv" if beside else "patients.csv")
    path.write_text("\n".join(["file,split,patient", *rows]))
    splits = divided(images, FILES, None if beside else path, number=4)
    assert (splits.by, splits.stratified) == ("patient", "class presence")
    for patient in range(4):
        assert together(splits, FILES[3 * patient : 3 * patient + 3])
    assert sorted(file for fold in splits.folds for file in fold["val"]) == FILES


def test_copies_of_an_image_stay_together(images):
    names = ["images/00.jpg", "other/new_name.jpg", "other/x_jpg.rf.a.png", "other/x_jpg.rf.b.png"]
    for number, name in enumerate(names, start=50):
        save(images / name, np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    darker = np.asarray(Image.open(images / FILES[0])) // 2 + 90
    save(images / names[1], darker, quality=95)
    splits = divided(images, [*FILES, *names], number=5)
    assert together(splits, [FILES[0], *names[:2]]) and together(splits, names[2:])
    assert splits.by == "image, with those that look the same together"


def test_images_of_a_fixed_camera_are_told_apart_by_their_names(tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for number, file in enumerate(FILES):
        changed = scene.copy()
        changed[number, number] = 0
        save(tmp_path / file, changed)
    splits = divided(tmp_path, FILES)
    assert splits.by == "image" and sorted(len(fold["val"]) for fold in splits.folds) == [4, 4, 4]


def test_identical_files_of_a_fixed_camera_stay_together(tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for number, file in enumerate(FILES):
        changed = scene.copy()
        changed[number // 2, 0] = 0  # each file twice
        save(tmp_path / file, changed)
    splits = divided(tmp_path, FILES)
    assert splits.by == "image, with identical files together"
    assert all(together(splits, FILES[n : n + 2]) for n in range(0, 12, 2))


def test_more_identical_files_than_a_fold_has_are_divided_and_it_is_said(images):
    for file in FILES[3:8]:
        (images / file).write_bytes((images / FILES[3]).read_bytes())
    (images / FILES[1]).write_bytes((images / FILES[0]).read_bytes())
    splits = divided(images, FILES)
    assert splits.by == (
        "image, with identical files together (but 5 identical files, more than a fold has, may train and validate)"
    )
    assert sorted(len(fold["val"]) for fold in splits.folds) == [4, 4, 4] and together(splits, FILES[:2])


def test_each_fold_has_its_share_of_every_class(images):
    tags = {file: {"rare"} if n % 4 == 0 else {"common"} for n, file in enumerate(FILES)}
    splits = divided(images, FILES, tags=tags)
    assert [sum("rare" in tags[file] for file in fold["val"]) for fold in splits.folds] == [1, 1, 1]


def test_a_fold_that_is_not_there():
    with pytest.raises(ConfigError, match="fold=3: of folds=3 there are 0 to 2"):
        Fold(3, 3)


def test_a_table_may_call_images_as_it_likes(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("image,age\n00,50\nimages/01.png,60\n02.png,70\n99,80\n")
    table = read_image_table(path, FILES[:4])
    assert {file: row["age"] for file, row in table.meta.items()} == dict(zip(FILES, (50, 60, 70), strict=False))
    assert table.notes == (
        "table.csv names 1 case(s) that are not there: 99",
        "table.csv does not name 1 case(s): images/03.png",
    )
