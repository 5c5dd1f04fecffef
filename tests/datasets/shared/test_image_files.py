"""The files that annotations mean by a name: one, none, or several that nothing tells apart."""

import os

import pytest
from PIL import Image

from densekit import progress
from densekit.datasets.shared.image_files import ImageIndex, list_tree, read_headers


@pytest.fixture
def index(tmp_path):
    def index(*names):
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4 + number, 4)).save(path)
        return ImageIndex(tmp_path)

    return index


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["1.png"], "1.png", ["1.png"]),
        (["a/1.png", "b/1.png"], "1.png", ["a/1.png", "b/1.png"]),
        (["a/1.png", "b/1.png"], "b/1.png", ["b/1.png"]),
        (["x/a/1.png", "y/a/1.png"], "/content/y/a/1.png", ["y/a/1.png"]),
        (["x/a/1.png", "y/a/1.png"], "a/1.png", ["x/a/1.png", "y/a/1.png"]),
        (["a/1.png"], "1.jpg", []),
        (["a/11.png"], "1.png", []),
    ],
)
def test_a_name_twice_means_each_file_it_fits(index, files, name, found):
    assert index(*files).locate([name, name], beside="", split=None) == [found, found]


@pytest.mark.parametrize(
    ("beside", "split", "found"),
    [("a", None, "a/1.png"), ("", "val", "val/1.png"), ("", "train", "train/1.png")],
)
def test_the_own_folder_and_that_of_the_split_come_first(index, beside, split, found):
    files = index("a/1.png", "train/1.png", "val/1.png")
    assert files.locate(["1.png"], beside=beside, split=split) == [[found]]


def test_two_folders_of_a_split_are_not_told_apart(index):
    files = index("train/a/1.png", "train/b/1.png", "val/1.png")
    assert files.locate(["1.png"], beside="", split="train") == [["train/a/1.png", "train/b/1.png"]]


def test_the_size_or_equal_content_leaves_one(index, tmp_path):
    files = index("a/1.png", "b/1.png")
    both = ["a/1.png", "b/1.png"]
    assert files.narrow(both, (5, 4)) == ["b/1.png"]
    assert files.narrow(both, (0, 0)) == both
    assert files.narrow(both, (9, 9)) == both
    (tmp_path / "b/1.png").write_bytes((tmp_path / "a/1.png").read_bytes())
    assert files.narrow(both, (0, 0)) == ["a/1.png"]


def test_a_fifo_called_like_an_image_is_told_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (header,) = read_headers([str(tmp_path / "a.png")])
    assert "not a file" in header.problem


def test_many_headers_are_not_read_in_silence(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    assert read_headers([str(tmp_path / "a.png")] * 3) == [None] * 3
    assert [message.partition(" (")[0] for message in caplog.messages] == ["1 of 3 image headers read"]


def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "gone.png")
    dangling = []
    assert list_tree(tmp_path, dangling) == {}
    assert dangling == ["a/1.png"]
