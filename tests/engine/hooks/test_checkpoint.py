"""Which epoch best.pth is, and how that is said."""

import logging
from types import SimpleNamespace

import pytest

from densekit.engine.hooks import BestAndLastHook


@pytest.fixture
def validated(tmp_path, caplog):
    """Function that shows a hook the scores of some epochs; returns the hook and the epochs written to best.pth."""

    def run(*scores):
        hook, written = BestAndLastHook("AP"), []
        runner = SimpleNamespace(epoch=0, work_dir=str(tmp_path), logger=logging.getLogger("densekit"), hooks=[hook])
        runner.write_checkpoint = lambda path, **how: written.append((path.name, how["epoch"]))
        for runner.epoch, score in enumerate(scores, start=1):
            hook.after_val_epoch(runner, {"AP": score})
        hook.after_train(runner)
        return hook, [epoch for name, epoch in written if name == "best.pth"]

    caplog.set_level("INFO", "densekit")
    return run


@pytest.mark.parametrize(
    ("scores", "written", "kept"),
    [
        ((0.2, 0.5, 0.4), [1, 2], "of epoch 2, AP 0.5000"),
        ((0.2, 0.5, 0.5), [1, 2, 3], "of epoch 3, AP 0.5000"),
        ((float("nan"), 0.5, float("nan")), [2], "of epoch 2, AP 0.5000"),
        ((0.0, 0.0, 0.0), [1, 2, 3], "of epoch 3, with AP 0: nothing has been learned that counts"),
        ((float("nan"),), [1], "the last epoch"),
    ],
)
def test_best_pth_is_the_latest_of_the_best(validated, scores, written, kept):
    hook, epochs = validated(*scores)
    assert epochs == written
    assert hook.kept() == kept


def test_a_score_of_zero_is_not_praised(validated, caplog):
    validated(0.0, 0.3)
    said = [message for message in caplog.messages if "best.pth" in message]
    assert said == [
        "AP is 0 so far (epoch 1), written to best.pth",
        "best AP so far: 0.3000 (epoch 2), written to best.pth",
    ]


def test_the_epoch_of_best_pth_outlives_a_resumption(validated, tmp_path):
    hook, state = validated(0.1, 0.4, 0.2)[0], {}
    hook.before_save_checkpoint(None, state)
    (tmp_path / "best.pth").touch()
    resumed = BestAndLastHook("AP")
    resumed.after_load_checkpoint(SimpleNamespace(resuming=True, work_dir=str(tmp_path)), state)
    assert resumed.kept() == "of epoch 2, AP 0.4000"
