"""Files, folders and globs become cases with names of their own; channels of one case find each other."""

from pathlib import Path

import pytest

from densekit.errors import DataError
from densekit.inference.volume.scans import find_scans


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path

    return make


def found(inputs, root, channels=1, out="out"):
    cases = find_scans(inputs, channels=channels, out=root / out)
    return {case.id: tuple(str(p.relative_to(root)) for p in case.paths) for case in cases}


def test_a_folder_stands_for_the_volumes_directly_in_it(tree):
    root = tree("s/b.nii.gz", "s/a.nrrd", "s/C.MHA", "s/notes.txt", "s/._a.nrrd", "s/deep/d.nii.gz")
    assert found([root / "s"], root) == {"C": ("s/C.MHA",), "a": ("s/a.nrrd",), "b": ("s/b.nii.gz",)}


def test_results_keep_the_format_of_the_scan(tree):
    root = tree("a.nii.gz", "b.nii", "c.nrrd", "d.mhd")
    cases = find_scans([root], channels=1, out=root / "out")
    assert [case.output_name for case in cases] == ["a.nii.gz", "b.nii", "c.nrrd", "d.mha"]


def test_globs_reach_into_folders_but_not_into_the_results(tree, monkeypatch):
    root = tree("s/1/a.nii.gz", "s/2/b.nii.gz", "s/out/a.nii.gz")
    assert set(found([root / "s/**/*.nii.gz"], root, out="s/out")) == {"a", "b"}
    monkeypatch.chdir(root)
    assert [case.id for case in find_scans(["s/?/b*"], channels=1, out=Path("out"))] == ["b"]


def test_a_file_given_twice_is_one_case(tree):
    root = tree("a.nii.gz")
    assert len(found([root / "a.nii.gz", root / "a.nii.gz", root], root)) == 1


def test_same_names_get_the_names_of_their_folders(tree):
    root = tree("p1/ct/scan.nii.gz", "p2/ct/scan.nii.gz", "p3/other.nii.gz")
    assert set(found([root / "**/*.nii.gz"], root)) == {"p1_ct_scan", "p2_ct_scan", "other"}


def test_files_of_one_stem_do_not_stop_the_others(tree):
    root = tree("s/scan.nii.gz", "s/scan.nii", "s/scan.nrrd", "s/other.nii.gz", "t/scan.nii")
    cases = find_scans([root / "s", root / "t"], channels=1, out=root / "out")
    assert {case.output_name: case.paths[0].relative_to(root).as_posix() for case in cases} == {
        "other.nii.gz": "s/other.nii.gz",
        "scan.nii": "t/scan.nii",
        "scan_nii.nii": "s/scan.nii",
        "scan_nii_gz.nii.gz": "s/scan.nii.gz",
        "scan_nrrd.nrrd": "s/scan.nrrd",
    }


def test_names_that_differ_by_case_alone_are_numbered(tree):
    root = tree("s/scan.nii.gz", "s/Scan.nii.gz", "s/scan_nii_gz_2.nii.gz")
    if len(list((root / "s").iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    names = [case.id.lower() for case in find_scans([root / "s"], channels=1, out=root / "out")]
    assert len(set(names)) == 3


def test_channels_of_one_case_in_two_formats_are_two_cases(tree):
    root = tree("s/a_0000.nii.gz", "s/a_0001.nii.gz", "s/a_0000.nrrd", "s/a_0001.nrrd")
    assert set(found([root / "s"], root, channels=2)) == {"a_nii_gz", "a_nrrd"}


def test_channel_files_make_one_case(tree):
    root = tree("s/a_0000.nii.gz", "s/a_0001.nii.gz", "s/b_0000.nii.gz", "s/b_0001.nii.gz")
    expected = {"a": ("s/a_0000.nii.gz", "s/a_0001.nii.gz"), "b": ("s/b_0000.nii.gz", "s/b_0001.nii.gz")}
    assert found([root / "s"], root, channels=2) == expected


def test_numbered_scans_are_no_channels_for_a_network_of_one(tree):
    root = tree("s/case_0001.nii.gz", "s/case_0002.nii.gz", "t/lone_0000.nii.gz")
    assert set(found([root / "s", root / "t"], root)) == {"case_0001", "case_0002", "lone"}


@pytest.mark.parametrize("files", [["a_0000"], ["a_0000", "a_0002"], ["a_0000", "a_0001", "a_0002"]])
def test_missing_or_spare_channels_are_found(tree, files):
    root = tree(*(f"s/{name}.nii.gz" for name in files))
    (case,) = find_scans([root / "s"], channels=2, out=root / "out")
    with pytest.raises(DataError, match=r"expected _0000 \(CT\), _0001 \(PET\)"):
        case.check_channels(["CT", "PET"])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("nothing.nii.gz", "no such file or folder"),
        ("empty", "no volume"),
        ("above", "1 lie in its subfolders"),
        ("*.mha", "matches this pattern"),
    ],
)
def test_inputs_without_a_volume_are_refused(tree, item, message):
    root = tree("above/below/a.nii.gz", "empty/readme.txt")
    with pytest.raises(DataError, match=message):
        find_scans([root / item], channels=1, out=root / "out")
