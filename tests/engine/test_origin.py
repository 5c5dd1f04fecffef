"""Where a config's values come from, and the text that says so."""

import math
from pathlib import Path

import pytest

from densekit.engine.origin import origins, write_resolved
from densekit.errors import ConfigError, OutputError
from densekit.tasks import load_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes config files into a folder that is the current one; returns the first."""

    def write(**texts):
        monkeypatch.chdir(tmp_path)
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path / f"{next(iter(texts))}.py"

    return write


def base(*modules):
    imports = "".join(f"    from {module} import *\n" for module in modules)
    return f"from mmengine.config import read_base\nwith read_base():\n{imports}"


def test_the_last_assignment_wins_over_nested_bases_and_several_in_a_row(files):
    path = files(
        top=base(".parts.left", ".parts.right") + "\nc = 3\n",
        parts__left=base(".root") + "\nb = 1\nc = 1\n",
        parts__right="c = 2\nd = 2\n",
        parts__root="a = 0\nb = 0\nc = 0\n",
    )
    assert origins(path) == {
        "a": "parts/root.py:1",
        "b": "parts/left.py:5",
        "d": "parts/right.py:2",
        "c": "top.py:6",
    }


def test_a_later_base_wins_over_an_earlier_one(files):
    path = files(top=base(".one", ".two"), one="lr = 1\n", two="x = 0\nlr = 2\n")
    assert origins(path)["lr"] == "two.py:2"


def test_bases_come_first_wherever_they_are_imported_as_in_mmengine(files):
    path = files(top="lr = 1\n" + base(".low"), low="lr = 2\n")
    from mmengine.config import Config

    assert Config.fromfile(path).lr == 1
    assert origins(path)["lr"] == "top.py:1"


def test_single_names_are_imported_under_their_own_or_another_name(files):
    text = "from mmengine.config import read_base\nwith read_base():\n    from .low import a, b as c\n"
    path = files(top=text, low="a = 1\nb = 2\nunused = 3\n")
    assert origins(path) == {"a": "low.py:1", "c": "top.py:3"}


@pytest.mark.parametrize(
    "statement",
    [
        "model.neck = 1",
        "model['neck']['type'] = 1",
        "model.neck.update(type=1)",
        "model.update(dict(neck=1))",
        "del model['neck']",
        "model.pop('neck')",
        "if True:\n    model.neck = 1",
    ],
)
def test_a_change_of_a_part_names_both_places(files, statement):
    path = files(top=f"{base('.low')}{statement}\n", low="model = dict(neck=dict(type=0))\nseed = 1\n")
    line = 5 if "\n" in statement else 4
    assert origins(path) == {"model": f"low.py:1, changed in top.py:{line}", "seed": "low.py:2"}


def test_setting_a_key_anew_forgets_what_was_changed_before(files):
    path = files(top="a = {}\na['x'] = 1\na = {}\nb = 0\nb = 1\ndel b\nc, (d, e) = 1, (2, 3)\n")
    assert origins(path) == {"a": "top.py:3", "c": "top.py:7", "d": "top.py:7", "e": "top.py:7"}


def test_a_base_that_sets_a_key_to_the_same_value_keeps_its_place(files):
    assert origins(files(top=base(".low") + "lr = 1\n", low="lr = 1\n"))["lr"] == "low.py:1"


def test_local_names_of_functions_are_no_keys(files):
    assert origins(files(top="a = 1\ndef f():\n    b = 2\n    a = 3\n")) == {"a": "top.py:1"}


def test_options_come_last(files):
    path = files(top="a = 1\noptimizer = dict(lr=1)\n")
    assert origins(path, ["a=2", "optimizer.lr=0.1", "optimizer.lr=0.2"]) == {
        "a": "--cfg-options a=2",
        "optimizer": "top.py:2, changed by --cfg-options optimizer.lr=0.2",
        "optimizer.lr": "--cfg-options optimizer.lr=0.2",
    }


def test_files_of_the_project_are_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = origins(ROOT / "configs" / "retinanet-fpn-r50_coco.py")
    assert found["model"].startswith("configs/retinanet-fpn-r50_coco.py:")
    assert found["optimizer"].startswith("configs/_base_/one_stage.py:")


def test_other_files_by_their_whole_path(files, monkeypatch, tmp_path_factory):
    path = files(top="a = 1\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert origins(path) == {"a": f"{path}:1"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_key_of_the_shipped_configs_is_set_on_the_line_that_is_named(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = origins(path)
    keys = list(load_config(path))
    assert [key for key in found if "." not in key and key not in keys] == []
    assert {"task", "model"} <= set(found)
    for key in found:
        file, _, line = found[key].partition(",")[0].partition(":")
        assert (ROOT / file).read_text().splitlines()[int(line) - 1].startswith(f"{key} =")


def test_what_cannot_be_read_is_said_in_one_line(files):
    with pytest.raises(
        ConfigError,
        match=r"top\.py:3: there is no base 'gone' at .*gone\.py; those of the package are imported from any folder",
    ):
        load_config(files(top=base(".gone")))
    with pytest.raises(ConfigError, match=r"bad\.py:2: is no Python"):
        load_config(files(top=base(".bad"), bad="a = 1\nb = = 2\n"))
    with pytest.raises(ConfigError, match=r"top\.py:3: there is no package 'nowhere'"):
        load_config(files(top=base("nowhere.configs.a")))


# --- config.txt -------------------------------------------------------------------------------------------------------
VALUES = {
    "seed": 0,
    "name": 'a "quoted" one',
    "none": None,
    "limit": math.inf,
    "scale": (1333, 800),
    "single": (1,),
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "model": {"backbone": {"type": "mmdet.ResNet", "depth": 50}, "neck": [{"type": "FPN"}, {"type": "SEPC"}]},
    "odd": {"class": 1, 3: {"a b": []}},
    "classes": [f"class number {i}" for i in range(30)],
    "hooks": [],
}


def written(tmp_path, values, origins):
    write_resolved(tmp_path / "config.txt", values, origins)
    return (tmp_path / "config.txt").read_text()


def test_the_text_is_python_that_gives_the_values_again(tmp_path):
    text = written(tmp_path, VALUES, {"model": "a.py:1", "optimizer.lr": "b.py:2", "scale": "c.py:3"})
    found = {}
    exec(text, found)
    assert {key: found[key] for key in VALUES} == VALUES
    assert max(map(len, text.splitlines())) <= 110


def test_short_dicts_take_one_line_and_nested_ones_several(tmp_path):
    lines = written(tmp_path, VALUES, {}).splitlines()
    assert 'optimizer = dict(type="SGD", lr=0.1, momentum=0.9)' in lines
    start = lines.index("model = dict(")
    assert lines[start + 1 : start + 7] == [
        '    backbone=dict(type="mmdet.ResNet", depth=50),',
        "    neck=[",
        '        dict(type="FPN"),',
        '        dict(type="SEPC"),',
        "    ],",
        ")",
    ]


def test_origins_stand_in_a_column_and_parts_have_their_own(tmp_path):
    text = written(
        tmp_path,
        {"seed": 3, "optimizer": {"type": "SGD", "lr": 0.1}, "free": 1},
        {"seed": "a.py:1", "optimizer": "b.py:2, changed in c.py:3", "optimizer.lr": "c.py:3"},
    )
    assert text.splitlines()[2:] == [
        "seed = 3           # a.py:1",
        "optimizer = dict(  # b.py:2, changed in c.py:3",
        '    type="SGD",',
        "    lr=0.1,        # c.py:3",
        ")",
        "free = 1",
    ]


def test_an_origin_of_several_lines_stays_a_comment(tmp_path):
    found = {}
    exec(written(tmp_path, {"a": 1}, {"a": "--cfg-options a=1\nb = 2"}), found)
    assert "b" not in found


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "config.txt").mkdir()
    with pytest.raises(OutputError, match=r"config\.txt"):
        write_resolved(tmp_path / "config.txt", {"a": 1}, {})
