"""Pascal VOC: lists, names, the two conventions of coordinates, and what is missing."""

import pytest


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
