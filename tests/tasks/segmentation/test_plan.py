"""What follows from a config and a data set of label images."""

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.errors import ConfigError, DataError
from densekit.tasks import load_config, make_plan
from densekit.tasks.base import find_task


def plan(path, data, *options):
    return make_plan(load_config(path, options), data)


def test_counts_of_the_data_reach_the_network(segmentation_config, areas):
    made = plan(segmentation_config(), areas)
    model = made.model()
    assert made.class_names == ["sand", "grass", "sea"]
    assert model["type"] == "densekit.SemanticSegmentor"
    assert model["decode_head"]["num_classes"] == 3
    assert model["data_preprocessor"]["size"] == [32, 32]
    assert model["test_cfg"]["mode"] == "whole"


def test_epochs_are_passes_over_the_data_or_equal_shares_of_the_steps(segmentation_config, areas):
    assert plan(segmentation_config(), areas).iterations_per_epoch == 2
    by_steps = plan(segmentation_config(max_iters=15, max_epochs=3), areas)
    loader = by_steps.train_loader()
    assert by_steps.iterations_per_epoch == 5
    sampler = loader["sampler"]["type"](
        dataset=loader["dataset"], **{k: v for k, v in loader["sampler"].items() if k != "type"}
    )
    drawn = list(sampler)
    assert len(drawn) == 5 * 4
    assert len(set(drawn)) == 20  # each time an image comes, it is drawn anew
    assert plan(segmentation_config(max_iters=15, max_epochs=3, accumulate=2), areas).iterations_per_epoch == 10


def test_steps_that_do_not_divide_into_epochs_are_refused(segmentation_config, areas):
    made = plan(segmentation_config(max_iters=16, max_epochs=3), areas)
    with pytest.raises(ConfigError, match=r"max_iters=16 does not divide into max_epochs=3 .* take max_iters=15"):
        made.check_training()


def test_a_schedule_that_would_begin_after_the_run_is_refused(segmentation_config, areas):
    late = [{"type": "PolyLR", "begin": 1500, "by_epoch": False}]
    with pytest.raises(ConfigError, match=r"schedule.0=.*: the run is over before it begins; lower its begin"):
        plan(segmentation_config(schedule=late), areas).check_training()


def test_schedules_count_steps_however_many_batches_make_one(segmentation_config, areas):
    warm = [
        {"type": "LinearLR", "end": 6, "by_epoch": False},
        {"type": "PolyLR", "begin": 6, "by_epoch": False},
    ]
    made = plan(segmentation_config(schedule=warm, max_iters=20, batch_size=4, accumulate=2), areas)
    assert [(s.get("begin"), s["end"]) for s in made.schedule()] == [(None, 12), (12, 41)]
    made.lower(2, 4)
    assert [(s.get("begin"), s["end"]) for s in made.schedule()] == [(None, 24), (24, 81)]


def test_only_a_schedule_with_an_end_of_its_own_can_end_too_late(segmentation_config, areas):
    without, late = ({"type": "PolyLR", "by_epoch": False, **end} for end in ({}, {"end": 99}))
    made = plan(segmentation_config(schedule=[without, late]), areas)
    told = [line for line in find_task("segmentation", "").report(made).cautions() if line.startswith("schedule")]
    assert told == ["schedule.1: ends after 99 iterations, the run has 4: it does not get that far"]


def test_samples_are_crops_with_their_labels(segmentation_config, areas):
    item = plan(segmentation_config(), areas).train_dataset[0]
    labels = item["data_samples"].gt_sem_seg.data
    assert item["inputs"].shape == (3, 32, 32)
    assert labels.shape == (1, 32, 32)
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}


def test_validation_keeps_masks_as_they_are(segmentation_config, areas, tmp_path):
    made = plan(segmentation_config(test_pipeline=[{"type": "mmseg.Resize", "scale": (32, 24)}]), areas)
    item = made.validation(tmp_path)["val_dataloader"]["dataset"][0]
    assert item["inputs"].shape == (3, 24, 32)
    assert item["data_samples"].gt_sem_seg.data.shape == (1, 48, 64)


def test_class_weights_follow_the_training_pixels(segmentation_config, areas):
    made = plan(segmentation_config(class_weight="balanced", losses={"ce": 1.0, "dice": 1.0}), areas)
    pixels = made.data.counts["train"]["pixels"]
    weights = made.model()["decode_head"]["loss_decode"][0]["class_weight"]
    assert weights == pytest.approx((np.median(pixels) / pixels).tolist(), rel=1e-3)


@pytest.mark.parametrize("losses", [{"ce": 1}, {"dice": 1}, {"lovasz": 1}, {"boundary": 0.1}, {"focal": 1}])
def test_every_loss_gives_a_gradient(losses, segmentation_config, areas):
    ohem = None if "focal" in losses else {"thresh": 0.9, "min_kept": 10}
    made = plan(segmentation_config(losses=losses, ohem=ohem), areas)
    network, items = made.network(), [made.train_dataset[n] for n in range(2)]
    batch = {key: [item[key] for item in items] for key in items[0]}
    found = network.loss(**network.data_preprocessor(batch, training=True))
    total = sum(value for name, value in found.items() if "loss" in name)
    total.backward()
    assert torch.isfinite(total)
    assert network.decode_head.conv_seg.weight.grad.abs().sum() > 0


def test_images_of_other_channels_go_without_transforms_of_colours(segmentation_config, tmp_path):
    import rasterio

    for n in range(4):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        with rasterio.open(
            tmp_path / "images" / f"{n}.tif", "w", driver="GTiff", width=64, height=48, count=5, dtype="uint8"
        ) as file:
            file.write(np.random.default_rng(n).integers(0, 255, (5, 48, 64), dtype=np.uint8))
        Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) // 32, (48, 1))).save(tmp_path / "masks" / f"{n}.png")
    pipeline = [{"type": "mmseg.PhotoMetricDistortion"}, {"type": "mmseg.RandomCrop", "crop_size": (32, 32)}]
    made = plan(segmentation_config(classes=None, train_pipeline=pipeline), tmp_path)
    assert made.left_out == ["PhotoMetricDistortion"]
    assert made.model()["backbone"]["in_channels"] == 5
    assert made.train_dataset[0]["inputs"].shape == (5, 32, 32)
    assert made.network().eval()(torch.zeros(1, 5, 32, 32)).shape[1] == 2


def test_a_split_that_is_not_there_is_refused(segmentation_config, areas):
    with pytest.raises(DataError, match=r"has no split 'valid' .*did you mean 'val'"):
        plan(segmentation_config(val_split="valid"), areas).check_training()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"inference": {"mode": "slid"}}, "mode='slid': expected 'whole' or 'slide'; did you mean 'slide'"),
        ({"class_weight": {"see": 1}}, "no class 'see'; did you mean 'sea'"),
        ({"losses": {"focal": 1}, "ohem": {"thresh": 0.7}}, "weighs hard pixels itself; leave one of the two out"),
        ({"losses": {"dise": 1}}, "losses={'dise': 1}, expected None, or weights of some of"),
        ({"train_pipeline": [{"type": "mmseg.RandomCrops"}]}, "no transform of MMSegmentation or densekit"),
        ({"layer_decay": {"rate": 2}}, "layer_decay={'rate': 2}, expected dict"),
    ],
)
def test_values_that_cannot_be_are_one_line(keys, message, segmentation_config, areas):
    with pytest.raises(ConfigError) as caught:
        plan(segmentation_config(**keys), areas).check_training()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_features_are_kept_where_the_encoder_and_the_pipeline_stay_the_same(segmentation_config, areas):
    frozen = {"backbone": {"type": "TimmBackbone", "name": "test_convnext", "frozen": True}, "head": "FCNHead"}
    resize = [{"type": "mmseg.Resize", "scale": (32, 32)}]
    assert plan(segmentation_config(model=frozen, train_pipeline=resize), areas).features_are_kept
    assert not plan(segmentation_config(model=frozen), areas).features_are_kept
    assert not plan(segmentation_config(train_pipeline=resize), areas).features_are_kept
    assert not plan(segmentation_config(model=frozen, train_pipeline=resize, augment="light"), areas).features_are_kept
