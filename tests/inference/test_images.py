"""Which files are predicted and what they are called; volumes and images are not mixed up."""

import subprocess
import sys

import pytest

from densekit.errors import DataError
from densekit.inference.images import find_images
from densekit.tasks import find_task
from densekit.tasks.verbs import check_inputs_fit


@pytest.fixture
def tree(tmp_path):
    """Folders a and b with files of the same names, one folder below a, and things that are no images."""
    for name in ("a/1.jpg", "a/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/below/3.webp", "b/1.jpg", "b/film.MP4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(cases):
    return [case.id for case in cases]


def test_a_folder_stands_for_what_lies_directly_in_it(tree):
    cases = find_images([tree / "a"], out=tree / "out")
    assert names(cases) == ["1", "2"]
    assert cases[0].output_names == ("pictures/1.jpg", "results/1.json")


def test_files_of_one_name_get_the_names_of_their_folders(tree):
    cases = find_images([tree / "a", tree / "b"], out=tree / "out")
    assert names(cases) == ["a_1", "2", "b_1", "film"]
    assert cases[-1].is_video and not cases[0].is_video


def test_files_that_differ_in_their_suffix_keep_it(tree):
    (tree / "a" / "1.png").write_bytes(b"x")
    assert names(find_images([tree / "a"], out=tree / "out")) == ["1.jpg", "1.png", "2"]


def test_globs_reach_into_folders_but_not_into_the_results(tree):
    (tree / "out" / "pictures").mkdir(parents=True)
    (tree / "out" / "pictures" / "1.jpg").write_bytes(b"x")
    cases = find_images([f"{tree}/**/*"], out=tree / "out")
    assert sorted(names(cases)) == ["2", "3", "a_1", "b_1", "film"]


def test_the_same_file_twice_is_one(tree):
    assert names(find_images([tree / "a" / "1.jpg", tree / "a", f"{tree}/a/1.*"], out=tree / "out")) == ["1", "2"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("none", "no such file or folder"),
        ("empty", r"no image \(.jpg .* or video .* in this folder; give the folder that holds them"),
        ("parent", r"1 lie in its subfolders: give '.*/parent/\*\*/\*'"),
        ("a/*.gif", "matches this pattern"),
    ],
)
def test_inputs_without_an_image(tree, given, words):
    (tree / "empty").mkdir()
    (tree / "parent" / "child").mkdir(parents=True)
    (tree / "parent" / "child" / "x.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        find_images([tree / given], out=tree / "out")


@pytest.mark.parametrize(
    ("name", "words"), [("a.gif", "a GIF may be an animation"), ("a.txt", "leave it out"), ("a", "no suffix, expected")]
)
def test_files_of_other_kinds_are_refused_one_by_one(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        find_images([tmp_path / name], out=tmp_path / "out")[0].check_suffix()


@pytest.mark.parametrize(
    ("task", "files", "given", "words"),
    [
        ("detection", ["scan.nii.gz"], "scan.nii.gz", r"a volume, but .*best\.pth finds objects in images"),
        ("detection", ["scans/a.nrrd", "scans/readme.txt"], "scans", r"a\.nrrd: a volume, but"),
        (
            "volume",
            ["a.jpg"],
            "a.jpg",
            r"a\.jpg: an image, but .*best\.pth segments volumes; give files of the kind volume",
        ),
        ("volume", ["a.mov"], "a.mov", "a video, but .* segments volumes"),
        ("volume", ["images/a.png"], "images", r"a\.png: an image, but"),
    ],
)
def test_inputs_of_the_other_kind_are_refused(tmp_path, task, files, given, words):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        check_inputs_fit(find_task(task, ""), [tmp_path / given], tmp_path / "best.pth")


@pytest.mark.parametrize("task", ["detection", "volume"])
def test_folders_that_hold_both_kinds_fit_both_tasks(tmp_path, task):
    for name in ("a.nii.gz", "a.jpg"):
        (tmp_path / name).write_bytes(b"x")
    check_inputs_fit(find_task(task, ""), [tmp_path, tmp_path / "not there", f"{tmp_path}/*"], "best.pth")


def test_the_package_is_imported_without_mmdetection():
    """Importing that takes five seconds, which somebody with volumes should not wait for."""
    code = "import sys, densekit.inference.detection; print('mmdet' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
