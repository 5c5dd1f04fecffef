"""Pascal VOC: lists, names, the two conventions of coordinates, and what is missing."""

import pytest

from densekit.errors import DataError


@pytest.fixture
def voc(make):
    for stem in ("a", "b", "c"):
        make.image(f"JPEGImages/{stem}.jpg")
    make.xml("Annotations/a.xml", [("dog", (10, 5, 30, 25)), ("cat", (1, 1, 64, 48), 1)])
    make.xml("Annotations/b.xml", [("dog", (2, 2, 12, 14))])
    make.xml("Annotations/c.xml", [])
    make.text("ImageSets/Main/train.txt", "a\nc\n")
    make.text("ImageSets/Main/val.txt", "b\n")
    make.text("ImageSets/Main/trainval.txt", "a\nb\nc\n")
    return make


def test_lists_names_and_difficult_objects(voc, load, boxes_of):
    dataset, found = load(voc.root)
    assert dataset.classes == ("cat", "dog")
    assert boxes_of(dataset) == [
        ("JPEGImages/a.jpg", "dog", [10, 5, 20, 20]),
        ("JPEGImages/a.jpg", "cat", [1, 1, 63, 47]),
        ("JPEGImages/b.jpg", "dog", [2, 2, 10, 12]),
    ]
    assert [image.split for image in dataset.images] == ["train", "train", "val"]
    assert dataset.annotations.ignore.tolist() == [False, True, False]
    assert "taken as corners" in found["layout"].message
    assert found["background"].count == 1


def test_pascal_vocs_own_coordinates_begin_at_one_and_include_the_last_pixel(voc, load, boxes_of):
    for stem, objects in (("a", [("cat", (1, 1, 64, 48))]), ("b", [("dog", (2, 2, 12, 14))])):
        voc.xml(f"Annotations/{stem}.xml", objects, database="The VOC2007 Database")
    dataset, found = load(voc.root)
    assert [box for _, _, box in boxes_of(dataset)] == [[0, 0, 64, 48], [1, 1, 11, 13]]
    assert "numbered from 1" in found["layout"].message


def test_a_zero_shows_that_corners_were_written(voc, load, boxes_of):
    voc.xml("Annotations/a.xml", [("cat", (0, 0, 64, 48))], database="The VOC2007 Database")
    dataset, found = load(voc.root)
    assert boxes_of(dataset)[0][2] == [0, 0, 64, 48]
    assert "taken as corners" in found["layout"].message


def test_exchanged_corners_are_put_in_order(voc, load, boxes_of):
    voc.xml("Annotations/b.xml", [("dog", (12, 14, 2, 2))])
    dataset, found = load(voc.root)
    assert boxes_of(dataset)[-1][2] == [2, 2, 10, 12]
    assert "Annotations/b.xml, object 1" in found["box-inverted"].examples[0].where


def test_what_is_missing_is_counted(voc, load):
    voc.text("ImageSets/Main/train.txt", "a\nc\nlost\n")
    voc.text("ImageSets/Main/test.txt", "unlabelled\n")
    voc.image("JPEGImages/unlabelled.jpg")
    (voc.root / "JPEGImages" / "b.jpg").unlink()
    dataset, found = load(voc.root)
    assert found["annotation-missing"].severity == "error"
    assert found["annotation-missing"].examples[0].where == "ImageSets/Main/train.txt: lost.xml"
    assert found["image-missing"].examples[0].where == "JPEGImages/b.jpg"
    assert found["image-without-annotation"].examples[0].where == "JPEGImages/unlabelled.jpg"
    messages = [finding.message for finding in dataset.findings if finding.code == "layout"]
    assert "images of test.txt without an annotation file, left out" in messages


def test_broken_xml_and_objects_without_box_are_errors(voc, load):
    voc.text("Annotations/b.xml", "<annotation><object></annotation>")
    text = (voc.root / "Annotations" / "a.xml").read_text()
    voc.text("Annotations/a.xml", text.replace("<xmin>10</xmin>", "<xmin>ten</xmin>"))
    _, found = load(voc.root)
    places = [example.where for example in found["row-malformed"].examples]
    assert found["file-unreadable"].examples[0].where.startswith("Annotations/b.xml: mismatched tag")
    assert "Annotations/a.xml, object 1: no bndbox of four numbers" in places


def test_a_size_of_zero_is_taken_from_the_file(voc, load):
    voc.xml("Annotations/b.xml", [("dog", (2, 2, 12, 14))], size=(0, 0))
    dataset, found = load(voc.root)
    assert found["size-missing"].count == 1
    assert (dataset.images[-1].width, dataset.images[-1].height) == (64, 48)


def test_flat_folder_draws_a_validation_split(make, load):
    for number in range(10):
        make.image(f"{number}.png")
        make.xml(f"{number}.xml", [("cat", (2, 2, 12, 14))])
    dataset, found = load(make.root)
    assert [dataset.counts(split)["images"] for split in ("train", "val")] == [8, 2]
    assert "2 of 10 images drawn" in found["split-drawn"].message
    assert "image-missing" not in found  # the XML says .jpg, the files are .png


def test_split_folders_with_xml_beside_the_images(make, load):
    for split in ("train", "valid"):
        make.image(f"{split}/{split}.jpg")
        make.xml(f"{split}/{split}.xml", [("cat", (2, 2, 12, 14))])
    assert load(make.root)[0].splits == ("train", "val")


NAMES = ["a b", "Scan 00 (front)", "a.b", "1.2.826", "Mäuse", "x 1", "-1", "a  b", "it's, this"]


@pytest.mark.parametrize("column", ["", " 1", "  1", " -1", "\t0"], ids=repr)
@pytest.mark.parametrize("line", ["{}", "{}.jpg", "JPEGImages/{}.jpg", "C:\\voc\\JPEGImages\\{}.jpg"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=repr)
def test_lists_name_images_in_any_way(make, load, column, line, ending):
    for name in NAMES:
        make.image(f"JPEGImages/{name}.jpg")
        make.xml(f"Annotations/{name}.xml", [("cat", (2, 2, 12, 14))])
    lines = (line.format(name) + column for name in NAMES)
    make.text("ImageSets/Main/train.txt", "").write_bytes(ending.join(lines).encode())
    dataset, found = load(make.root)
    assert [image.file for image in dataset.images] == [f"JPEGImages/{name}.jpg" for name in NAMES]
    assert not {"annotation-missing", "image-missing", "image-without-annotation"} & found.keys()


def test_a_list_in_composed_form_finds_files_in_the_other(make, load):
    make.image("JPEGImages/Ma\u0308use.jpg")
    make.xml("Annotations/Ma\u0308use.xml", [("cat", (2, 2, 12, 14))])
    make.text("ImageSets/Main/train.txt", "M\u00e4use\n")
    dataset, found = load(make.root)
    assert len(dataset.annotations) == 1
    assert not {"annotation-missing", "image-missing"} & found.keys()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<html><body>404</body></html>", "its outermost element is html"),
        (b"<robot/>", "its outermost element is robot"),
        (b"[1]", "syntax error"),
        (b"\x89PNG", "not well-formed"),
        (None, "No such file"),
    ],
    ids=["empty", "web page", "other", "list", "binary", "dangling link"],
)
@pytest.mark.parametrize("name", ["a", "c"])
def test_an_xml_file_that_cannot_be_read_is_an_error(voc, load, content, words, name):
    file = voc.root / f"Annotations/{name}.xml"
    file.unlink()
    file.symlink_to("nowhere") if content is None else file.write_bytes(content)
    _, found = load(voc.root)
    place = found["file-unreadable"].examples[0].where
    assert place.startswith(f"Annotations/{name}.xml: ")
    assert words in place
    assert found["file-unreadable"].severity == "error"


@pytest.mark.parametrize("content", ["a\n".encode("utf-16"), b"\xff\xfe\xfa", None], ids=["utf-16", "binary", "link"])
@pytest.mark.parametrize("name", ["train", "val"])
def test_a_list_that_cannot_be_read_is_an_error(voc, load, content, name):
    file = voc.root / f"ImageSets/Main/{name}.txt"
    file.unlink()
    file.symlink_to("nowhere") if content is None else file.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}\.txt: "):
        load(voc.root)


def test_an_empty_validation_list_is_an_error_and_none_is_drawn(voc, load):
    voc.text("ImageSets/Main/val.txt", "")
    dataset, found = load(voc.root)
    assert found["split-empty"].examples[0].where == "val: ImageSets/Main/val.txt"
    assert dataset.splits == ("train",)


@pytest.mark.parametrize("other", ["JPEGImages/a.png", "images/a.jpg", "Images/a.jpeg"])
def test_two_images_of_one_name_are_an_error_unless_the_size_tells(voc, load, other):
    text = (voc.root / "Annotations/a.xml").read_text()
    voc.text("Annotations/a.xml", text.replace("<filename>a.jpg</filename>", ""))
    voc.image(other)
    assert f"JPEGImages/a.jpg or {other}" in load(voc.root)[1]["image-ambiguous"].examples[0].where.replace(
        f"{other} or JPEGImages/a.jpg", f"JPEGImages/a.jpg or {other}"
    )
    voc.image(other, (32, 32))
    dataset, found = load(voc.root)
    assert "image-ambiguous" not in found
    assert dataset.images[0].file == "JPEGImages/a.jpg"


def test_the_name_in_the_xml_tells_two_suffixes_apart(voc, load):
    voc.image("JPEGImages/a.bmp")
    dataset, found = load(voc.root)
    assert "image-ambiguous" not in found
    assert dataset.images[0].file == "JPEGImages/a.jpg"
