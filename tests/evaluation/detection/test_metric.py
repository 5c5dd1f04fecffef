"""The metric in MMEngine's evaluation loop: keys, masks, several processes, what it refuses."""

import json
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from densekit.errors import ConfigError, DataError
from densekit.evaluation.detection import DetectionMetric, evaluate
from densekit.ops import run_lengths
from densekit.registry import METRICS


@pytest.fixture
def annotations(tmp_path, random_set):
    """A file of annotations, its content, and detections as results and as samples of MMDetection's val_step."""

    def make(seed=5, masks=False):
        truth, rows = random_set(seed, masks)
        path = tmp_path / "val.json"
        path.write_text(json.dumps(truth))
        for row in rows:  # what a network computes in
            row["score"] = float(np.float32(row["score"]))
            if not masks:
                row["bbox"] = _in_float32(row["bbox"])
        return path, truth, rows, [sample(truth, image["id"], rows, masks) for image in truth["images"]]

    return make


def _in_float32(box):
    x1, y1, x2, y2 = np.float32([box[0], box[1], box[0] + box[2], box[1] + box[3]]).astype(float).tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def sample(truth, image_id, rows, masks=False):
    """What one image becomes on its way through val_step and the Evaluator."""
    labels = {number: label for label, number in enumerate(sorted(c["id"] for c in truth["categories"]))}
    mine = [row for row in rows if row["image_id"] == image_id]
    boxes = [row.get("bbox", [0, 0, 1, 1]) for row in mine]
    found = {
        "bboxes": torch.tensor([[x, y, x + w, y + h] for x, y, w, h in boxes]).reshape(-1, 4).float(),
        "scores": torch.tensor([row["score"] for row in mine]).float(),
        "labels": torch.tensor([labels[row["category_id"]] for row in mine]).long(),
    }
    if masks:
        shapes = [torch.from_numpy(run_lengths.decode(row["segmentation"]).copy()) for row in mine]
        found["masks"] = torch.stack(shapes) if shapes else torch.zeros(0, 160, 200, dtype=torch.bool)
    return {"img_id": image_id, "ori_shape": (160, 200), "pred_instances": found}


def test_metrics_are_the_scores_under_their_names(annotations):
    path, truth, rows, samples = annotations()
    metric = METRICS.build({"type": "DetectionMetric", "ann_file": str(path)})
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = {"classes": tuple(c["name"] for c in truth["categories"])}
    evaluator.process(data_samples=samples[:2])
    evaluator.process(data_samples=samples[2:])
    result = evaluator.evaluate(len(samples))
    scores = evaluate(truth, rows)
    expected = {key: getattr(scores, key) for key in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")}
    expected |= {f"AP/{name}": row["AP"] for name, row in scores.per_class.items() if row["objects"]}
    assert result == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert 0 < result["AP"] < 1
    assert metric.results == []  # ready for the next evaluation
    assert pytest.approx(scores.AR100) == metric.last_scores["bbox"].AR100


def test_masks_have_a_prefix(annotations):
    path, truth, rows, samples = annotations(masks=True)
    metric = DetectionMetric(path, iou_types=("bbox", "segm"))
    metric.process(None, samples)
    result = metric.evaluate(len(samples))
    scores = evaluate(truth, rows, iou_type="segm")
    masks = {key.removeprefix("mask_"): value for key, value in result.items() if key.startswith("mask_")}
    assert masks["AP"] == pytest.approx(scores.AP, abs=1e-9) and masks["AP"] > 0
    assert masks["AP_small"] == pytest.approx(scores.AP_small, abs=1e-9, nan_ok=True)
    assert masks["AP/class 0"] == pytest.approx(scores.per_class["class 0"]["AP"], abs=1e-9)
    assert set(masks) == {key for key in result if not key.startswith("mask_")}


def test_masks_are_kept_as_run_lengths(annotations):
    path, _, _, samples = annotations(masks=True)
    metric = DetectionMetric(path, iou_types=("segm",))
    full = next(s for s in samples if len(s["pred_instances"]["labels"]))
    metric.process(None, [full])
    (_, boxes, _, _, masks), *_ = metric.results
    assert isinstance(masks[0]["counts"], str) and masks[0]["size"] == [160, 200]
    assert len(masks) == len(boxes) == len(full["pred_instances"]["masks"])


def test_detections_are_written_and_score_the_same(annotations, tmp_path):
    path, truth, _, samples = annotations(masks=True)
    metric = DetectionMetric(path, iou_types=("bbox", "segm"), out=tmp_path / "run" / "detections.json")
    metric.process(None, samples)
    result = metric.evaluate(len(samples))
    for kind, key in (("bbox", "AP"), ("segm", "mask_AP")):
        again = evaluate(truth, tmp_path / "run" / "detections.json", iou_type=kind)
        assert pytest.approx(result[key], abs=1e-12) == again.AP


def test_nothing_found_scores_zero(annotations):
    path, truth, _, _ = annotations()
    metric = DetectionMetric(path)
    metric.process(None, [sample(truth, image["id"], []) for image in truth["images"]])
    result = metric.evaluate(len(truth["images"]))
    assert (result["AP"], result["AP50"]) == (0, 0)


def test_sizes_without_objects_are_not_defined(tmp_path, coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])])
    (tmp_path / "val.json").write_text(json.dumps(truth))
    metric = DetectionMetric(tmp_path / "val.json")
    metric.process(None, [sample(truth, 1, found((1, 0, [0, 0, 20, 20], 0.9)))])
    result = metric.evaluate(1)
    assert result["AP_small"] == pytest.approx(1) and math.isnan(result["AP_large"])
    assert "AP/cat" in result and "AP/dog" not in result  # no dog to find


def test_an_image_repeated_by_the_sampler_counts_once(annotations):
    path, _, _, samples = annotations()
    metric = DetectionMetric(path)
    metric.process(None, samples)
    once = metric.evaluate(len(samples))
    metric.process(None, [*samples, samples[0]])
    assert metric.evaluate(len(samples) + 1) == pytest.approx(once, nan_ok=True)


def test_images_that_were_not_predicted_are_told(annotations, caplog):
    path, truth, rows, samples = annotations()
    metric = DetectionMetric(path)
    metric.process(None, samples[1:])
    with caplog.at_level(logging.WARNING, "densekit"):
        result = metric.evaluate(len(samples) - 1)
    assert f"1 of its {len(samples)} images were not predicted" in caplog.text
    left = [row for row in rows if row["image_id"] != samples[0]["img_id"]]
    assert result["AP"] == pytest.approx(evaluate(truth, left).AP)


def test_predictions_that_cannot_be_are_refused(annotations):
    path, _, _, samples = annotations()
    metric = DetectionMetric(path)
    given = next(s for s in samples if len(s["pred_instances"]["labels"]))
    found = given["pred_instances"]
    with pytest.raises(DataError, match="has no image with the id 999"):
        metric.process(None, [given | {"img_id": 999}])
    with pytest.raises(DataError, match=r"predicts label 9, .*val.json has \d classes"):
        metric.process(None, [given | {"pred_instances": found | {"labels": found["labels"] * 0 + 9}}])
    with pytest.raises(DataError, match="not finite; its weights have diverged"):
        metric.process(None, [given | {"pred_instances": found | {"scores": found["scores"] * math.nan}}])


def test_masks_that_are_not_there_are_refused(annotations):
    path, _, _, samples = annotations(masks=True)
    metric = DetectionMetric(path, iou_types=("segm",))
    del samples[0]["pred_instances"]["masks"]
    with pytest.raises(DataError, match="the model predicts no masks"):
        metric.process(None, samples[:1])


def test_another_order_of_classes_is_refused_before_the_loop(annotations):
    path, truth, _, _ = annotations()
    names = [c["name"] for c in truth["categories"]]
    metric = DetectionMetric(path)
    with pytest.raises(
        ConfigError, match=r"label 0 is 'class 0' by the order of its category ids, .* calls it 'class 1'"
    ):
        metric.dataset_meta = {"classes": [names[1], names[0], *names[2:]]}
    with pytest.raises(ConfigError, match=f"label {len(names)} is nothing .* calls it 'more'"):
        metric.dataset_meta = {"classes": [*names, "more"]}


def test_wrong_settings_are_refused_before_training_starts(annotations, tmp_path):
    path, *_ = annotations()
    with pytest.raises(ConfigError, match="did you mean 'segm'"):
        DetectionMetric(path, iou_types=("bbox", "segmm"))
    with pytest.raises(ConfigError, match="iou_types is empty"):
        DetectionMetric(path, iou_types=())
    with pytest.raises(DataError, match=r"no\.json: cannot be read"):
        DetectionMetric(tmp_path / "no.json")


def test_registering_the_metric_imports_nothing_that_takes_long():
    code = (
        "import sys, densekit.registry as r; r.METRICS.get('DetectionMetric') or sys.exit(1); "
        "print([m for m in ('mmdet', 'mmcv', 'hotcoco', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_scores_are_those_of_mmdetections_metric(annotations, masks):
    from mmdet.evaluation import CocoMetric
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    path, truth, _, samples = annotations(seed=7, masks=masks)
    kind, prefix = ("segm", "mask_") if masks else ("bbox", "")
    found = []
    for metric in (DetectionMetric(path, iou_types=(kind,)), CocoMetric(ann_file=str(path), metric=kind)):
        evaluator = Evaluator([metric])
        evaluator.dataset_meta = {"classes": tuple(c["name"] for c in truth["categories"])}
        for given in samples:
            predicted = DetDataSample(metainfo={"img_id": given["img_id"], "ori_shape": given["ori_shape"]})
            predicted.pred_instances = InstanceData(**given["pred_instances"])
            evaluator.process(data_samples=[predicted])
        found.append(evaluator.evaluate(len(samples)))
    ours, theirs = found
    names = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "AP_small": "mAP_s", "AP_medium": "mAP_m"}
    for key, name in names.items():
        assert ours[prefix + key] == pytest.approx(theirs[f"coco/{kind}_{name}"], abs=5.1e-4)  # theirs has 3 digits
    assert ours[prefix + "AP"] > 0


RANK = """
import json, sys
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from densekit.evaluation.detection import DetectionMetric

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
metric = DetectionMetric(f"{folder}/val.json", collect_dir=f"{folder}/parts", out=f"{folder}/out{rank}.json")
samples = torch.load(f"{folder}/samples.pt", weights_only=True)
for index in DefaultSampler(samples, shuffle=False):
    metric.process(None, [samples[index]])
counted = len(metric.results)
print(json.dumps({"counted": counted, "result": metric.evaluate(len(samples))}))
dist.destroy_process_group()
"""


def test_two_processes_score_like_one(launcher, annotations, tmp_path):
    path, _, _, samples = annotations(seed=5)
    samples = samples[: len(samples) - (len(samples) % 2 == 0)]  # an odd number: the sampler repeats one
    metric = DetectionMetric(path, out=tmp_path / "alone.json")
    metric.process(None, samples)
    alone = metric.evaluate(len(samples))
    torch.save(samples, tmp_path / "samples.pt")
    ranks = [launcher.start(RANK, rank, tmp_path) for rank in range(2)]
    first, second = (json.loads(process.wait().stdout.splitlines()[-1]) for process in ranks)
    assert first["counted"] == second["counted"] == len(samples) // 2 + 1
    assert first["result"] == pytest.approx(alone, nan_ok=True)
    assert second["result"] == pytest.approx(alone, nan_ok=True)
    assert (tmp_path / "out0.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    assert not (tmp_path / "out1.json").exists()
