"""A test of a network of volumes: what it does before, and instead of, predicting."""

import json

import pytest

from densekit.cli import main
from densekit.errors import DataError
from densekit.inference.volume.predictor import VolumePredictor
from densekit.tasks import test as score

from ...volume_runs import no_curves, short_run  # noqa: F401


@pytest.fixture
def predicted(monkeypatch):
    """The files that are predicted."""
    predict, asked = VolumePredictor.predict, []

    def noted(self, source, **options):
        asked.append([path.name for path in source])
        return predict(self, source, **options)

    monkeypatch.setattr(VolumePredictor, "predict", noted)
    return asked


def linked(prepared, data):
    """The prepared folder once more, of links: files of it can be replaced."""
    data.mkdir()
    for path in prepared.iterdir():
        if path.name != "cases":
            (data / path.name).symlink_to(path)
    for case in (prepared / "cases").iterdir():
        (data / "cases" / case.name).mkdir(parents=True)
        for path in case.iterdir():
            (data / "cases" / case.name / path.name).symlink_to(path)
    return data


def test_labels_that_are_spelt_differently_are_the_same(short_run, prepared, tmp_path, caplog):  # noqa: F811
    data = linked(prepared, tmp_path / "data")
    described = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").unlink()
    names = described["labels"]
    described["labels"] = [names[0], *(name.upper() for name in names[1:])]
    described["scored"] = described["labels"][1:]
    (data / "dataset.json").write_text(json.dumps(described))
    table = score(short_run[1] / "last.pth", data=data, out=tmp_path / "scores", no_surface=True)
    assert table.structures == tuple(described["labels"][1:])
    assert f"taken as one: {names[1].upper()!r} is {names[1]!r}" in caplog.text


def test_a_case_without_a_label_map_is_not_predicted(short_run, prepared, tmp_path, predicted):  # noqa: F811
    data = linked(prepared, tmp_path / "data")
    described = data / "cases" / "case7" / "case.json"
    content = json.loads(described.read_text())
    content["sources"]["label"] = None
    described.unlink()
    described.write_text(json.dumps(content))
    table = score(short_run[1] / "last.pth", data=data, out=tmp_path / "scores")
    assert predicted == [["case6.nii.gz"]]
    assert table.cases == ("case6",) and "has no label to compare with" in table.failures["case7"]


def test_scans_that_were_moved_are_said_in_one_line(short_run, prepared, tmp_path, capsys):  # noqa: F811
    data = linked(prepared, tmp_path / "data")
    for folder in (data / "cases").iterdir():
        content = json.loads((folder / "case.json").read_text())
        content["sources"]["images"] = [str(tmp_path / "disk" / "raw" / "scan 1.nii.gz")]
        (folder / "case.json").unlink()
        (folder / "case.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        score(short_run[1] / "last.pth", data=data, out=tmp_path / "scores")
    said = str(caught.value)
    assert "scans of 2 of 2 cases are not where they were prepared from" in said
    assert f"ln -s NEW {tmp_path / 'disk'}; or prepare" in said and "scan 1.nii.gz" in said
    assert not (tmp_path / "scores").exists()
    assert main(["check", str(data)]) == 0  # training goes on without them
    assert capsys.readouterr().out.count("are not where they were prepared from") == 1
