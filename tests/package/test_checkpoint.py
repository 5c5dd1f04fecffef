"""Checkpoints are data: round trip, refusals, and messages that say what is wrong."""

import pickle

import pytest
import torch
from torch import nn

from densekit.errors import CheckpointError, OutputError
from densekit.package import checkpoint as module
from densekit.package import load_checkpoint, read_weights, write_checkpoint
from densekit.registry import MODELS


@MODELS.register_module()
class TwoLayerNetwork(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first, self.second = nn.Linear(3, width), nn.Linear(width, 2)


def save(path, model=None, **changes):
    model = model or TwoLayerNetwork()
    parts = {
        "task": "volume",
        "model_config": {"type": "TwoLayerNetwork"},
        "preprocessing": {"spacing": [3.0, 1.0, 1.0]},
        "labels": ["background", "liver"],
        "inference": {"window": (8, 8, 8)},
        "state_dict": model.state_dict(),
        "meta": {"epoch": 3},
    }
    write_checkpoint(path, **{**parts, **changes})
    return model


def test_round_trip_gives_the_same_network_and_facts(tmp_path):
    model = save(tmp_path / "best.pth", training={"optimizer": {"lr": 0.1}})
    checkpoint = load_checkpoint(tmp_path / "best.pth")
    assert checkpoint.labels == ["background", "liver"]
    assert checkpoint.inference == {"window": [8, 8, 8]}
    assert checkpoint.meta == {"epoch": 3}
    assert checkpoint.training == {"optimizer": {"lr": 0.1}}
    rebuilt = checkpoint.build_model()
    assert not rebuilt.training
    for key, value in model.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[key], value)


def test_a_file_is_read_once_and_hashed_once(tmp_path, monkeypatch):
    save(tmp_path / "best.pth")
    checkpoint = load_checkpoint(tmp_path / "best.pth")
    assert load_checkpoint(checkpoint) is checkpoint
    hashed = []
    monkeypatch.setattr(module, "sha256", lambda path: hashed.append(path) or "hash")
    assert [checkpoint.sha256, checkpoint.sha256] == ["hash", "hash"]
    assert hashed == [tmp_path / "best.pth"]


def test_a_checkpoint_that_is_replaced_while_it_is_used_stays_what_it_was(tmp_path):
    model = save(tmp_path / "best.pth")
    checkpoint = load_checkpoint(tmp_path / "best.pth")  # mapped from the file
    save(tmp_path / "best.pth")
    assert torch.equal(checkpoint.build_model().first.weight, model.first.weight)


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    save(tmp_path / "best.pth")
    checkpoint = load_checkpoint(tmp_path / "best.pth")
    checkpoint.require_task("volume")
    with pytest.raises(CheckpointError, match=r"best\.pth: is a checkpoint of the task 'volume', one of 'detection'"):
        checkpoint.require_task("detection")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (("last.pth", "best.pth"), r"run: is the folder of a run; give the checkpoint in it, .*best\.pth$"),
        (("last.pth",), r"run: is the folder of a run; give the checkpoint in it, .*last\.pth$"),
        ((), "run: is a folder; give a checkpoint$"),
    ],
)
def test_a_folder_is_answered_with_the_checkpoint_in_it(tmp_path, held, said):
    (tmp_path / "run").mkdir()
    for name in held:
        (tmp_path / "run" / name).touch()
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "run")


def test_missing_file_says_where_checkpoints_come_from(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.pth: no such checkpoint file.*densekit train"):
        load_checkpoint(tmp_path / "nothing.pth")


def test_python_objects_are_refused_and_not_run(tmp_path):
    marker = tmp_path / "code_ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save({"densekit": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="refused: it is not plain tensors"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", pickle.dumps({"a": 1})[:7]])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth: ") as caught:
        load_checkpoint(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_cut_short_is_refused(tmp_path):
    save(tmp_path / "best.pth")
    whole = (tmp_path / "best.pth").read_bytes()
    (tmp_path / "best.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut short"):
        load_checkpoint(tmp_path / "best.pth")


def test_a_checkpoint_with_damaged_bytes_is_read_or_refused(tmp_path):
    save(tmp_path / "best.pth")
    whole = (tmp_path / "best.pth").read_bytes()
    names = whole.index(b"densekit")  # the part that is not numbers
    refused = 0
    for position in range(names - 60, names + 600, 7):
        (tmp_path / "best.pth").write_bytes(whole[:position] + b"\x00" + whole[position + 1 :])
        try:
            load_checkpoint(tmp_path / "best.pth")
        except CheckpointError:
            refused += 1
    assert refused > 10


def test_bare_weights_are_refused_with_the_way_to_use_them(tmp_path):
    torch.save(TwoLayerNetwork().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="load_from"):
        load_checkpoint(tmp_path / "weights.pth")


def test_another_architecture_is_named_with_examples(tmp_path):
    save(tmp_path / "best.pth", model=TwoLayerNetwork(width=5))
    with pytest.raises(
        CheckpointError,
        match=r"another architecture.*of another shape \(first: first\.weight: \(5, 3\), the model has \(4, 3\)\)",
    ):
        load_checkpoint(tmp_path / "best.pth").build_model()


def test_missing_and_unknown_parameters_are_counted(tmp_path):
    save(tmp_path / "best.pth", state_dict={"first.weight": torch.zeros(4, 3), "third.bias": torch.zeros(1)})
    with pytest.raises(
        CheckpointError, match=r"3 missing \(first: first\.bias\); 1 unknown to the model \(first: third\.bias\)"
    ):
        load_checkpoint(tmp_path / "best.pth").build_model()


@pytest.mark.parametrize("name", ["os.system", "builtins.print", "NoSuchNetwork", "torch.nn.Linear"])
def test_only_registered_names_are_built(tmp_path, name):
    save(tmp_path / "best.pth", model_config={"type": "TwoLayerNetwork", "width": 4})
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    content["densekit"]["model"]["type"] = name
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(CheckpointError, match="unknown part"):
        load_checkpoint(tmp_path / "best.pth").build_model()


@pytest.mark.parametrize(("part", "key"), [("densekit", "format"), ("densekit", "model"), (None, "training")])
def test_a_checkpoint_that_lacks_a_part_says_which(tmp_path, part, key):
    save(tmp_path / "best.pth")
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    del (content[part] if part else content)[key]
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(CheckpointError, match=rf"best\.pth: lacks '{key}'"):
        load_checkpoint(tmp_path / "best.pth")


def test_a_newer_format_asks_for_an_update(tmp_path):
    save(tmp_path / "best.pth")
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    content["densekit"]["format"] = 99
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(CheckpointError, match=r"format 99.*update densekit"):
        load_checkpoint(tmp_path / "best.pth")


def test_a_folder_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "best.pth").mkdir()
    with pytest.raises(OutputError, match=r"best\.pth"):
        save(tmp_path / "best.pth")


def test_weights_of_other_programs_are_read_as_data(tmp_path):
    from safetensors.torch import save_file

    weights = TwoLayerNetwork().state_dict()
    torch.save(weights, tmp_path / "bare.pth")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "other.pth")
    save_file(weights, tmp_path / "w.safetensors")
    save(tmp_path / "best.pth", state_dict=weights)
    for name in ("bare.pth", "other.pth", "w.safetensors", "best.pth"):
        read = read_weights(tmp_path / name)
        assert all(torch.equal(read[key], value) for key, value in weights.items())


def test_files_without_weights_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="cut short"):
        read_weights(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_weights(tmp_path / "y.safetensors")
