"""The metric in MMEngine's evaluation loop: keys, samples, several processes."""

import json
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from densekit.errors import ConfigError, DataError
from densekit.evaluation.volume import VolumeMetric, score_case
from densekit.registry import METRICS

LABELS = ("background", "liver", "spleen")


def sample(case_id, prediction, reference):
    """What VolumeSegmentor returns for one volume."""
    return {
        "prediction": torch.from_numpy(prediction),
        "label": torch.from_numpy(reference).long(),
        "case_id": case_id,
        "spacing": torch.tensor([2.0, 1.0, 1.0]),
    }


@pytest.fixture
def samples(cohort):
    return [sample(case, *maps) for case, maps in cohort.items()]


def test_mean_dice_is_under_the_key_for_the_best_checkpoint(samples):
    metric = METRICS.build({"type": "VolumeMetric", "labels": LABELS})
    evaluator = Evaluator([metric])
    evaluator.process(data_samples=samples[:2])
    evaluator.process(data_samples=samples[2:])
    result = evaluator.evaluate(3)
    liver, spleen = (2 / 3 + 1 + 1) / 3, (14 / 15 + 0 + 0) / 3
    expected = {"dice": (liver + spleen) / 2, "dice/liver": liver, "dice/spleen": spleen, "missed": 1, "spurious": 1}
    assert result == pytest.approx(expected)
    assert metric.last_table.cases == ("a", "b", "c")
    assert metric.results == []  # ready for the next evaluation


def test_surface_scores_equal_those_of_the_cases(samples, cohort):
    metric = VolumeMetric(LABELS, scored=["liver"], surface=True)
    metric.process(None, samples)
    result = metric.evaluate(3)
    liver = [score_case(*maps, case_id=case, labels=LABELS, spacing=(2, 1, 1))[0] for case, maps in cohort.items()]
    for key in ("hd95_voxel", "hd95_mm", "surface_dice"):
        assert result[key] == pytest.approx(np.mean([getattr(score, key) for score in liver]))
    assert result["missed"] == 0  # the spleen is not scored


def test_values_that_are_not_defined_have_no_key_but_dice_always_has(samples):
    empty = np.zeros((2, 2, 2), np.uint8)
    metric = VolumeMetric(LABELS, surface=True)
    metric.process(None, [sample("empty", empty, empty)])
    result = metric.evaluate(1)
    assert math.isnan(result.pop("dice"))
    assert result == {"missed": 0, "spurious": 0}


def test_a_sample_repeated_by_the_sampler_is_dropped(samples):
    metric = VolumeMetric(LABELS)
    metric.process(None, [*samples, samples[0]])
    once = metric.evaluate(3)
    metric.process(None, samples)
    assert once == metric.evaluate(3)


def test_two_cases_of_one_name_are_refused(samples):
    metric = VolumeMetric(LABELS)
    metric.process(None, [samples[0], samples[0]])
    with pytest.raises(DataError, match="case a: liver is scored 2 times"):
        metric.evaluate(2)


def test_grids_that_differ_and_missing_references_are_refused(samples):
    metric = VolumeMetric(LABELS)
    with pytest.raises(DataError, match=r"case a: prediction has shape \(3, 8, 8\)"):
        metric.process(None, [samples[0] | {"prediction": samples[0]["prediction"][1:]}])
    with pytest.raises(DataError, match="case a: sample has no label"):
        metric.process(None, [{key: value for key, value in samples[0].items() if key != "label"}])


def test_wrong_settings_are_refused_before_training_starts():
    with pytest.raises(ConfigError, match="did you mean 'strict'"):
        VolumeMetric(LABELS, convention="strickt")
    with pytest.raises(ConfigError, match="did you mean 'liver'"):
        VolumeMetric(LABELS, scored=["livver"])


RANK = """
import json, sys
import numpy as np, torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from densekit.evaluation.volume import VolumeMetric

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
metric = VolumeMetric(("background", "liver"), collect_dir=f"{folder}/parts")
cases = list(range(3))  # three cases over two processes: the sampler repeats one
for index in DefaultSampler(cases, shuffle=False):
    prediction, reference = np.zeros((2, 1, 1, 8), np.uint8)
    prediction[..., :4] = 1
    reference[..., index : index + 4] = 1
    metric.process(None, [{"prediction": torch.from_numpy(prediction), "label": torch.from_numpy(reference),
                           "case_id": str(index), "spacing": torch.ones(3)}])
counted = len(metric.results)
result = metric.evaluate(len(cases))
cases = metric.last_table.cases if metric.last_table else None
print(json.dumps({"counted": counted, "result": result, "cases": cases}))
dist.destroy_process_group()
"""


def test_two_processes_score_every_case_once(launcher, tmp_path):
    ranks = [launcher.start(RANK, rank, tmp_path) for rank in range(2)]
    first, second = (json.loads(process.wait().stdout.splitlines()[-1]) for process in ranks)
    assert (first["counted"], second["counted"]) == (2, 2)
    assert first["cases"] == ["0", "1", "2"]
    assert second["cases"] is None
    assert first["result"]["dice"] == pytest.approx((1 + 0.75 + 0.5) / 3)
    assert second["result"] == first["result"]
