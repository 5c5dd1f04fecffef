import json

import pytest

from densekit.datasets.segmentation.classes import class_list, packaged
from densekit.errors import ConfigError

COLOURS = ((1, 2, 3), (255, 0, 16))
SUPERVISELY = [
    {"title": "road", "color": "#010203", "id": 9},
    {"title": "roof", "color": "#ff0010", "id": 4},
    {"title": "ignored", "color": "#090909", "id": 5},
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", "Name,R,G,B\nroad,1,2,3\nroof,255,0,16\nvoid,9,9,9\n"),
        ("c.csv", "label,colour\nroad,#010203\nroof,#FF0010\nunlabelled,#090909\n"),
        ("c.json", json.dumps({"road": [1, 2, 3], "roof": "#ff0010", "ignore": [9, 9, 9]})),
        ("c.json", json.dumps({"classes": SUPERVISELY})),
        ("c.txt", "# label:color_rgb:parts:actions\nroad:1,2,3::\nroof:255,0,16::\nvoid:9,9,9::\n"),
    ],
)
def test_colours_are_read_from_all_forms(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = class_list(tmp_path / name)
    assert (found.names, found.values, found.colours) == (("road", "roof"), None, COLOURS)
    assert found.ignored == ((9, 9, 9),)


@pytest.mark.parametrize(
    "given",
    [
        {"road": 3, "roof": 7},
        {"3": "road", 7: "roof"},
        {"categories": [{"id": 3, "name": "road"}, {"id": 7, "name": "roof"}]},
    ],
)
def test_values_are_read_from_all_forms(given):
    assert (class_list(given).names, class_list(given).values) == (("road", "roof"), (3, 7))


def test_a_name_of_nothing_has_its_place_in_a_plain_list(tmp_path):
    (tmp_path / "c.txt").write_text("sky\nvoid\nroad\n")
    found = class_list(tmp_path / "c.txt")
    assert (found.names, found.values, found.ignored) == (("sky", "road"), (0, 2), (1,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", "a"], "'a' is there twice"),
        ([], "has 0 classes"),
        ({"a": 1, "b": 1}, "'a' and 'b' have one value, 1"),
        ({"a": (1, 2)}, "is no colour"),
        ({"a": 70000}, "is no value"),
        ([{"name": "a", "id": 1}, "b"], "'b' has no value, others have"),
        ("classes", r"no such file; .* or \['classes'\]"),
        ([3], "3 names no class"),
    ],
)
def test_lists_that_cannot_be_right(given, message):
    with pytest.raises(ConfigError, match=message):
        class_list(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("road,1,2,3\n", "line 1: the header is road, 1, 2, 3; expected a column name"),
        (
            "name;value\nroad;1\n",
            "line 1: the header is name;value; expected a column name, and commas between the columns",
        ),
    ],
)
def test_a_table_without_names_is_refused(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        class_list(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("name", "number", "first", "last"),
    [
        ("ade20k", 150, ("wall", 1), ("flag", 150)),
        ("cityscapes", 19, ("road", 7), ("bicycle", 33)),
        ("coco_stuff", 171, ("person", 0), ("wood", 181)),
        ("voc", 21, ("background", 0), ("tvmonitor", 20)),
        ("context", 59, ("aeroplane", 1), ("wood", 59)),
        ("loveda", 7, ("background", 1), ("agricultural", 7)),
    ],
)
def test_public_data_sets_have_their_classes(name, number, first, last):
    found = packaged(name)
    assert len(found.names) == len(found.values) == len(found.colours) == number
    assert (found.names[0], found.values[0], found.names[-1], found.values[-1]) == (*first, *last)
