"""Text that cannot be read is said with its reason and what to do."""

import os

import pytest

from densekit.errors import DataError
from densekit.io.files import load_json, read_text, require_file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ä".encode("utf-16"), r"is UTF-16 text; save it as UTF-8$"),
        ("ä".encode("cp1252"), r"is no text in UTF-8 \(byte 0xe4 at 0\)"),
        (None, r"cannot be read \(No such file or directory\)"),
    ],
)
def test_text_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.txt: {words}"):
        read_text(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_text(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("ä", encoding=encoding)
    assert read_text(tmp_path / "a.txt") == "ä"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ": is empty"),
        ("\n<html>", ": is a web page or XML, not JSON"),
        ('{"a":\n}', ", line 2, column 1: not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=rf"a\.json{words}|{words}"):
        load_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file; check the path"),
        (lambda path: path.symlink_to("gone"), r"is a link to what is not there \(gone\)"),
        (lambda path: path.symlink_to(path), "is a link that leads back to itself"),
        (os.mkfifo, "is a FIFO, expected a file"),
        (lambda path: path.mkdir(), "is a folder, expected a file"),
        (lambda path: path.symlink_to("/dev/null"), "is a device, expected a file"),
    ],
    ids=["absent", "dangling", "loop", "fifo", "folder", "device"],
)
def test_what_is_no_file_is_said_without_opening_it(tmp_path, make, words):
    make(tmp_path / "a")
    with pytest.raises(DataError, match=f"a: {words}"):
        require_file(tmp_path / "a")


def test_a_link_to_a_file_is_one(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    require_file(tmp_path / "b")
