"""The options of ``densekit prepare``: each kind takes its own, another one is an error and not ignored."""

import json

import numpy as np
import pytest

from densekit.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phantom", "raw", "--spacing", "1", "1", "1"], "--spacing is an option of synapse and acdc"),
        (["phantom", "raw", "--native"], "--native is an option of"),
        (["phantom", "raw", "--workers", "2"], "--workers is an option of"),
        (["phantom", "raw", "data"], "phantom takes one folder, not data as well"),
        (["acdc", "raw", "data", "--classes", "8"], "--classes is an option of synapse, not of acdc"),
        (["acdc", "raw", "data", "--val-cases", "0"], "--val-cases is an option of synapse, not of acdc"),
        (["synapse", "raw", "data", "--seed", "0"], "--seed is an option of msd and nnunet and folder and phantom"),
        (["folder", "raw", "data", "--train", "3"], "--train is an option of phantom, not of folder"),
        (["folder", "raw", "data", "--native", "--spacing", "1", "1", "1"], "contradict each other"),
        (["folder", "raw"], "give the prepared folder as well"),
    ],
)
def test_an_option_of_another_kind_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert message in err[0]
    assert not list(tmp_path.iterdir())


def test_the_fold_of_a_split_file_is_chosen(tmp_path, put):
    label = np.zeros((12, 10, 8), np.uint8)
    label[3:6, 3:6, 3:6] = 1
    for case in "abc":
        put(tmp_path / "raw" / "images" / f"{case}.nii.gz")
        put(tmp_path / "raw" / "labels" / f"{case}.nii.gz", label)
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}]
    (tmp_path / "raw" / "splits_final.json").write_text(json.dumps(folds))
    for fold, val in ((None, "c"), ("1", "a")):
        out = tmp_path / f"fold{fold}"
        more = [] if fold is None else ["--fold", fold]
        assert main(["prepare", "folder", str(tmp_path / "raw"), str(out), "--labels", "box", *more]) == 0
        assert json.loads((out / "dataset.json").read_text())["splits"]["val"] == [val]


def test_phantoms_without_options_are_those_that_the_help_promises(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "densekit.datasets.volume.prepare.phantom.make_phantoms", lambda out, **options: asked.update(options) or []
    )
    assert main(["prepare", "phantom", str(tmp_path), "--test", "0"]) == 0
    asked.pop("progress")
    assert asked == {"train": 10, "val": 2, "test": 0, "unseen": 1, "seed": 0}
