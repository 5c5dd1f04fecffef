"""What every run says of the weights that it validates and keeps."""

import pytest

from densekit.engine.run_report import RunReport
from densekit.tasks import load_config, make_plan, train

from ..volume_runs import SHORT, messages


def averaged(config, prepared, *options):
    return RunReport(make_plan(load_config(config, options), prepared)).averaged()


def test_a_run_without_an_average_has_nothing_to_say_of_it(config, prepared):
    assert averaged(config(), prepared) == []


@pytest.mark.parametrize(("epochs", "too_long"), [(10, True), (149, True), (150, False), (1000, False)])
def test_an_average_longer_than_a_third_of_the_run_is_said(config, prepared, epochs, too_long):
    first, *more = averaged(config(), prepared, "ema=0.005", f"max_epochs={epochs}")  # of four iterations
    assert "validated and written to best.pth is a moving average" in first
    assert [line.partition(" is longer")[0] for line in more] == ["the average of 200 iterations"] * too_long


def test_the_momentum_that_it_suggests_suits_the_run(config, prepared):
    suggested = averaged(config(), prepared, "ema=0.005")[1].partition("; ema=")[2].split()[0]
    assert len(averaged(config(), prepared, f"ema={suggested}", "max_epochs=4")) == 1


def test_the_last_line_names_the_epoch_of_best_pth(config, prepared, tmp_path):
    train(config(), data=prepared, work_dir=tmp_path, options=[*SHORT, "val_split=None", "ema=0.3"])
    log = messages(tmp_path)
    assert f"{tmp_path / 'best.pth'} (the last epoch), curves in" in log
    assert "is a moving average of the weights (ema=0.3: over about 3 iterations" in log
