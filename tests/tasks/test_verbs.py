"""What the verbs say of input that cannot be right, and what a checkpoint carries to a test."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from densekit import tasks
from densekit.cli import main
from densekit.errors import ConfigError
from densekit.package import write_checkpoint
from densekit.registry import MODELS


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of a task with what it carries to a test."""
    MODELS.register_module(name="Small", module=Small)

    def write(task="volume", **settings):
        path = tmp_path / f"{task}.pth"
        model = {"type": "Small"}
        described = {
            "model_config": model,
            "preprocessing": {},
            "labels": ["a", "b"],
            "inference": {"window": (8, 8, 8)},
        }
        meta = {"settings": settings} if settings else {}
        write_checkpoint(path, task=task, **described, state_dict=Small().state_dict(), meta=meta)
        return path

    yield write
    MODELS.module_dict.pop("Small")


@pytest.fixture
def scored(monkeypatch):
    """Function that has a task only note the settings that it is to score with, and returns the list."""

    def note(task):
        seen = []
        kind = type(tasks.find_task(task, ""))
        monkeypatch.setattr(kind, "predictor", lambda self, checkpoint, **_: checkpoint)
        monkeypatch.setattr(
            kind,
            "score",
            lambda self, predictor, data, split, *, out, progress, **how: seen.append({"data_root": data, **how}),
        )
        return seen

    return note


def error_of(capsys, *command):
    assert main([str(part) for part in command]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_test_without_data_asks_for_it(checkpoint, capsys):
    assert "names no data set to score on; give it with --data=PATH" in error_of(capsys, "test", checkpoint())


def test_a_config_in_the_place_of_a_checkpoint_is_said(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("task = 'volume'\n")
    for files in ([tmp_path / "mine.py"], ["dformer_synapse", tmp_path / "mine.py"]):
        assert "mine.py: is a config; give the checkpoint that is to be scored, last" in error_of(
            capsys, "test", *files
        )
    assert "not 3 files" in error_of(capsys, "test", "a", "b", "c")


def test_values_of_a_test_are_checked(checkpoint, capsys):
    path = checkpoint("detection", data_root="data")
    assert "max_dets='x', expected a positive whole" in error_of(capsys, "test", path, "--cfg-options", "max_dets=x")
    assert "optimizer.lr=1: does nothing here" in error_of(capsys, "test", path, "--cfg-options", "optimizer.lr=1")


def test_what_was_said_of_the_data_of_a_training_is_not_carried_to_others(checkpoint, scored):
    path = checkpoint(data_root="there", fold=2, convention="strict")
    seen = scored("volume")
    tasks.test(path)
    tasks.test(path, data="other/../there")
    tasks.test(path, data="elsewhere")
    tasks.test(path, data="elsewhere", options=["fold=1"])
    assert seen == [
        {"data_root": "there", "fold": 2, "convention": "strict"},
        {"data_root": "other/../there", "fold": 2, "convention": "strict"},
        {"data_root": "elsewhere", "fold": None, "convention": None},
        {"data_root": "elsewhere", "fold": 1, "convention": None},
    ]


def test_a_checkpoint_that_carries_nothing_is_scored_with_the_defaults(checkpoint, scored):
    seen = scored("detection")
    tasks.test(checkpoint("detection"), data="mine")
    assert seen[0]["data_root"] == "mine" and seen[0]["max_dets"] == 100 and seen[0]["data_format"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "detection", "--kind", "synapse"], "--kind: is for data of the task 'volume', not 'detection'"),
        (
            ["--task", "volume", "--html", "x.html"],
            "is for data of the task 'detection' or 'segmentation', not 'volume'",
        ),
        (["--kind", "msd", "--format", "coco"], "leave one of them out"),
        (["--task", "volumes"], "task='volumes' is not known; did you mean 'volume'?"),
    ],
)
def test_options_of_another_kind_of_data_are_refused(tmp_path, capsys, options, words):
    assert words in error_of(capsys, "check", tmp_path, *options)


def test_options_of_another_task_are_refused(checkpoint, tmp_path, capsys):
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    error = error_of(capsys, "predict", checkpoint(), tmp_path / "scan.nii.gz", "--threshold", "0.5")
    assert "--threshold: is for a checkpoint that finds objects in images, and" in error
    assert "--folds: " in error_of(capsys, "train", "dformer_synapse", "--folds", "5")


def test_an_option_of_no_task_is_answered_with_what_is_known(checkpoint):
    with pytest.raises(
        ConfigError, match=r"treshold: is not known .*; leave it out, known are overlap, batch, strict$"
    ):
        tasks.predictor(checkpoint(), treshold=0.5)


def test_a_checkpoint_of_a_task_that_is_not_there_says_so(checkpoint, tmp_path, capsys):
    assert "task='flow' is not known" in error_of(capsys, "predict", checkpoint("flow"), tmp_path)


@pytest.mark.parametrize("name", [".", "", "/", "configs"])
def test_a_folder_is_no_config(capsys, name):
    assert "no config file" in error_of(capsys, "train", name)


def test_a_config_may_import_a_task_of_its_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "of_my_own.py").write_text("raise ImportError('nothing of the kind')\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = "custom_imports = dict(imports=['of_my_own'])\nimport math\ntask = 'volume'\n"
    lazy = (
        "from mmengine.config import read_base\nwith read_base():\n    from densekit.configs._base_.volume import *\n"
    )
    for text in (own, lazy + own):
        (tmp_path / "mine.py").write_text(text)
        assert "mine.py: cannot be read: ImportError" in error_of(capsys, "config", tmp_path / "mine.py")
    (tmp_path / "of_my_own.py").write_text("")
    assert main(["config", str(tmp_path / "mine.py")]) == 0
    assert "math" not in capsys.readouterr().out


def test_a_printed_config_gives_the_same_config(tmp_path, capsys):
    for name in ("dformer_hippocampus", "retinanet-sepc-r50_coco"):
        assert main(["config", name]) == 0
        (tmp_path / "mine.py").write_text(capsys.readouterr().out)
        assert main(["config", str(tmp_path / "mine.py")]) == 0
        again = capsys.readouterr().out
        assert again.partition("\n")[2] == (tmp_path / "mine.py").read_text().partition("\n")[2]
        first, second = (tasks.load_config(n) for n in (name, tmp_path / "mine.py"))
        assert json.dumps(dict(first.optimizer)) == json.dumps(dict(second.optimizer))


def test_weights_in_the_old_format_are_read(tmp_path):
    from densekit.package import read_weights

    weights = {"a": torch.arange(3.0)}
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "old.pth")["a"], weights["a"])


def test_a_checkpoint_that_was_replaced_is_not_hashed_as_the_one_that_was_read(checkpoint):
    from densekit.errors import CheckpointError
    from densekit.package import load_checkpoint

    loaded = load_checkpoint(checkpoint())
    checkpoint(data_root="other")
    with pytest.raises(CheckpointError, match="was replaced since it was read"):
        _ = loaded.sha256


def test_an_option_that_two_tasks_know_leaves_it_to_the_data_whose_it_is(tmp_path, capsys):
    for name, value in (("images/a.png", 90), ("masks/a.png", 1)):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        Image.new("L", (40, 30), value).save(tmp_path / "data" / name)
    assert tasks.check(tmp_path / "data", html=tmp_path / "page.html") == 0
    assert "class  train: pixels" in capsys.readouterr().out
    assert "What the masks look like" in (tmp_path / "page.html").read_text()
