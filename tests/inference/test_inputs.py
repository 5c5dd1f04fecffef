"""What lies below a folder that is given is not taken, and that is said."""

import pytest

from densekit.errors import DataError
from densekit.inference.inputs import IMAGES, VOLUMES, expand, left_out


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Scans in a folder, in two of its folders and in the output folder, which lies in it too."""
    names = ("a.nii.gz", "one/b.nii.gz", "one/photo.jpg", "two/c.nrrd", "two/deep/d.nii", "out/a.nii.gz", "none/e.txt")
    for name in names:
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(tree, *inputs, wanted=VOLUMES):
    return left_out(inputs, tree / "scans" / "out", wanted)


def test_scans_in_the_folders_of_a_folder_are_told_and_how_to_take_them(tree):
    (line,) = said(tree, "scans", "scans")
    assert line == (
        "scans: 2 more in its subfolders (one/, two/) are not taken; if meant, give 'scans/**/*' with the quotes"
    )
    taken = [file.name for file in expand(tree / "scans/**/*", tree / "scans" / "out", VOLUMES)]
    assert sorted(taken) == ["a.nii.gz", "b.nii.gz", "c.nrrd", "d.nii"]


def test_what_is_given_besides_is_not_told(tree):
    assert said(tree, "scans", "scans/one", "scans/two/c.nrrd") == []
    assert said(tree, "scans/**/*") == said(tree, "scans/a.nii.gz") == []
    (line,) = said(tree, "scans", "scans/one")
    assert line.startswith("scans: 1 more in its subfolders (two/) is not taken")


def test_results_in_the_folder_are_nothing_to_predict(tree):
    (tree / "scans" / "a.nii.gz").unlink()
    out = tree / "scans" / "out"
    with pytest.raises(DataError, match="3 lie in its subfolders"):
        expand(tree / "scans", out, VOLUMES)
    with pytest.raises(DataError, match="1 lie in its subfolders"):
        expand(tree / "scans", out, IMAGES)
