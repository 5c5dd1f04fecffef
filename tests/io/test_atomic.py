"""Outputs appear by rename, whole or not at all."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from densekit.errors import OutputError
from densekit.io import atomic_path, write_json_atomic, write_text_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "new" / "scan.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"voxels")
        assert not target.exists()
    assert target.read_bytes() == b"voxels"
    assert names(target.parent) == ["scan.nii.gz"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, MemoryError])
def test_old_file_stays_and_no_temporary_remains_when_the_block_fails(tmp_path, raised):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(raised), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise raised
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_is_an_output_error_with_the_remedy(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No space left on device\); free some space"):
        write_text_atomic(tmp_path / "a.txt", "text")
    assert names(tmp_path) == []


def test_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"out/a\.txt: cannot be written \(.*\); .*choose another output path"):
        write_text_atomic(tmp_path / "out" / "a.txt", "text")


def test_folder_in_the_way_of_the_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written, there is a folder of that name; choose another"):
        write_text_atomic(tmp_path / "a.txt", "text")
    assert names(tmp_path) == ["a.txt"]


def test_device_is_not_replaced_by_a_file():
    with pytest.raises(OutputError, match="there is a device or pipe of that name"):
        write_text_atomic(os.devnull, "text")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"Permission denied.*choose an output folder that you may write to"):
            write_text_atomic(tmp_path / "a.txt", "text")
    finally:
        tmp_path.chmod(0o700)


def test_error_about_another_file_is_not_called_an_output_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()
    assert names(tmp_path) == []


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text_atomic(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_result_has_ordinary_permissions(tmp_path):
    write_text_atomic(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_longest_name_still_works(tmp_path):
    target = tmp_path / ("x" * 248 + ".nii.gz")
    write_text_atomic(target, "x")
    assert target.read_text() == "x"


def test_json_is_utf8_and_refuses_nan_before_touching_the_file(tmp_path):
    target = tmp_path / "a.json"
    write_json_atomic(target, {"größe": [1, 2.5, None]})
    assert json.loads(target.read_text(encoding="utf-8")) == {"größe": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(target, {"a": float("nan")})
    assert "größe" in target.read_text(encoding="utf-8")
    assert names(tmp_path) == ["a.json"]
