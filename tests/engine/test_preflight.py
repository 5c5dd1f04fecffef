"""Two steps on the worst batch, which leave the random numbers alone; and a batch size that the memory takes."""

import copy
import json
import random
import types
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from PIL import Image
from torch import nn

import densekit  # noqa: F401  before mmdet
from densekit import progress
from densekit.datasets.detection.worst_batch import as_batch, worst_batch
from densekit.engine import train as train_module
from densekit.engine.precision import Bf16OptimWrapper
from densekit.engine.preflight import DryRun, dry_run, fitting_batch, sizes_explained
from densekit.errors import ConfigError
from densekit.processes import join_processes
from densekit.tasks import load_config, make_plan

torch.set_num_threads(1)


def item(height, width, objects, path=""):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), (height, width))
    sample = DetDataSample(metainfo={**sizes, "scale_factor": (1.0, 1.0), "img_id": 0, "img_path": path})
    corners = torch.rand(objects, 2) * torch.tensor([width / 2, height / 2])
    boxes = torch.cat([corners, corners + torch.tensor([width / 2, height / 2]) - 1], dim=1)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(objects, dtype=torch.long))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    generator = torch.Generator().manual_seed(height * width)
    return {
        "inputs": torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8),
        "data_samples": sample,
    }


@pytest.fixture(scope="module")
def detector():
    from densekit.models.assemble import model_config

    backbone = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
    head = {"type": "RetinaHead", "feat_channels": 16, "stacked_convs": 1}
    return model_config({"backbone": backbone, "neck": {"type": "FPN", "out_channels": 16}, "head": head}, 2)


@pytest.fixture
def model(detector):
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        network = MODELS.build(detector)
    nn.init.normal_(network.bbox_head.retina_cls.weight, std=0.01)
    return network


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return as_batch([item(64, 96, 3), item(64, 64, 2)])


# --- worst batch ------------------------------------------------------------------------------------------------------
class Images:
    """A dataset of (height, width, objects); ``scales`` are drawn from."""

    def __init__(self, *images, scales=(1.0,)):
        self.images, self.scales = images, scales
        self.draws = 0

    def __len__(self):
        return len(self.images)

    def get_data_info(self, index):
        height, width, objects = self.images[index]
        return {"height": height, "width": width, "instances": [{"ignore_flag": 0}] * objects + [{"ignore_flag": 1}]}

    def __getitem__(self, index):
        height, width, objects = self.images[index]
        scale = self.scales[self.draws % len(self.scales)]
        self.draws += 1
        return item(int(scale * height), int(scale * width), objects, f"{index}.png")


def test_the_largest_batch_is_not_looked_for_in_silence(monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    worst_batch(Images((10, 10, 1), (10, 10, 2)), 1)
    told = [message.partition(" (")[0] for message in caplog.messages]
    assert told == ["1 of 2 images tried for the largest batch"]


def test_the_images_with_the_most_objects_at_their_largest():
    images = Images(*[(10, 10, n) for n in (1, 9, 3, 7)], scales=(1.0, 3.0, 2.0))
    worst = worst_batch(images, 2, draws=3)
    assert worst.objects == (9, 7) and worst.images == ("1.png", "3.png")
    assert worst.size == (30, 30) == tuple(worst.data["inputs"][0].shape[1:])
    assert worst.described() == "2 images padded to 30x30, at most 9 objects"
    assert worst.first(1).described() == "1 image of 30x30 with 9 objects"


def test_a_tall_image_beside_a_wide_one_pads_both():
    images = Images((20, 40, 9), (20, 40, 8), *[(20, 30, 5)] * 9, (50, 20, 1))
    worst = worst_batch(images, 2)
    assert worst.size == (50, 40) and worst.objects == (1, 9)
    assert worst.first(1).size == (50, 20)  # it stays when the batch is lowered
    assert worst_batch(images, 1).objects == (9,)


def test_the_largest_scale_is_waited_for():
    scales = (1.0,) * 11 + (3.0,)
    assert worst_batch(Images((10, 20, 1), scales=scales), 1).size == (10, 20)
    assert worst_batch(Images((10, 20, 1), scales=scales), 1, largest=(60, 30)).size == (30, 60)
    never = Images((10, 20, 1))
    assert worst_batch(never, 1, largest=(600, 300)).size == (10, 20) and never.draws == 24


def test_a_small_data_set_gives_images_twice():
    assert worst_batch(Images((10, 10, 2)), 3).objects == (2, 2, 2)


def test_finding_it_draws_no_random_numbers_of_the_training(tmp_path):
    from densekit.datasets.detection.training import coco_dataset
    from densekit.datasets.shared.epochs import SeededDataset

    images = [{"id": i, "file_name": f"{i}.png", "height": 32, "width": 48} for i in range(3)]
    for image in images:
        Image.fromarray(np.full((32, 48, 3), 99, np.uint8)).save(tmp_path / image["file_name"])
    box = {"category_id": 1, "bbox": [2, 2, 20, 20], "area": 400, "iscrowd": 0}
    annotations = [{"id": i + 1, "image_id": n, **box} for i, n in enumerate((0, 1, 1, 1, 2))]
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "train.json").write_text(json.dumps(coco))
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "RandomChoiceResize", "scales": [(48, 32), (96, 64)], "keep_ratio": True},
        {"type": "PackDetInputs"},
    ]
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = SeededDataset(coco_dataset(tmp_path / "train.json", tmp_path, ["cat"], pipeline), seed=1)
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        worst = worst_batch(dataset, 1, draws=8)
    assert worst.objects == (3,) and worst.size == (64, 96) and worst.images[0].endswith("1.png")
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


# --- dry run ----------------------------------------------------------------------------------------------------------
def make(kind, model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    if kind == "sgd":
        return OptimWrapper(sgd)
    wrapper = Bf16OptimWrapper if kind == "bf16" else OptimWrapper
    return wrapper(sgd, accumulative_counts=2, clip_grad={"max_norm": 1.0})


def step(model, optimizer, batch):
    """One ordinary step of a training; the loss."""
    bare = optimizer.optimizer
    data = model.data_preprocessor(copy.deepcopy(batch.data), True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    bare.step()
    bare.zero_grad()
    return loss.item()


def everything_drawn_from():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("fails", [False, True], ids=["done", "out of memory"])
def test_random_numbers_and_samples_are_what_they_were(model, batch, monkeypatch, fails):
    pixels = batch.data["inputs"][0].clone()
    meta = dict(batch.data["data_samples"][0].metainfo)

    def draw_and_fail(losses):
        random.random(), np.random.rand(), torch.rand(1)
        if fails:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried")
        return type(model).parse_losses(model, losses)

    monkeypatch.setattr(model, "parse_losses", draw_and_fail)
    before = everything_drawn_from()
    with pytest.raises(torch.OutOfMemoryError) if fails else nullcontext():
        dry_run(model, make("sgd", model), batch)
    assert everything_drawn_from() == before
    assert torch.equal(batch.data["inputs"][0], pixels) and batch.data["data_samples"][0].metainfo == meta


def test_its_steps_are_those_of_a_training(model, batch):
    other = copy.deepcopy(model)
    run = dry_run(model, make("sgd", model), batch, steps=3)
    optimizer = make("sgd", other.train())
    assert [losses["loss"] for losses in run.losses] == [step(other, optimizer, batch) for _ in range(3)]
    assert set(run.losses[0]) == {"loss_cls", "loss_bbox", "loss"} and len(run.seconds) == 3


def test_each_step_steps_also_where_a_training_would_gather_gradients(model, batch):
    run = dry_run(model, make("accumulating", model), batch)
    assert run.losses[1]["loss"] != run.losses[0]["loss"]


def test_parameters_without_gradient_are_named_and_frozen_ones_are_fine(model, batch):
    model.backbone.conv1.weight.requires_grad_(False)
    model.neck.idle = nn.Linear(2, 2)
    run = dry_run(model, make("sgd", model), batch)
    assert run.without_gradient == ("neck.idle.weight", "neck.idle.bias")
    assert run.frozen == ("backbone.conv1.weight",)
    told = dict(run.table())
    assert told["verdict"] == "go" and told["parameters without gradient"] == "neck.idle.weight, neck.idle.bias"
    assert told["caution"].startswith("those learn nothing, and a training on several GPUs stops at them")


def test_a_loss_that_is_no_number_is_a_no_go(model, batch):
    with torch.no_grad():
        model.bbox_head.retina_cls.bias[0] = float("nan")
    run = dry_run(model, make("sgd", model), batch)
    assert dict(run.table())["verdict"] == "no-go"
    assert dict(run.table())["no-go"].startswith("step 1: loss_cls=nan; lower optimizer.lr")


def test_a_loss_that_explodes_is_a_no_go_in_the_second_step(model, batch):
    run = dry_run(model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e30)), batch)
    assert run.problems[0].startswith("step 2: loss_")


def test_its_precision_is_the_wrappers(model, batch):
    models = {"sgd": model, "bf16": copy.deepcopy(model)}
    full, half = (dry_run(m, make(kind, m), batch).losses[0]["loss"] for kind, m in models.items())
    assert full != half and half == pytest.approx(full, rel=0.05)


def test_the_memory_is_what_the_steps_take_besides_what_was_there(model, batch):
    standing = torch.ones(30_000_000)  # 120 MB

    def greedy(losses):
        torch.ones(60_000_000)  # 240 MB, gone at once
        return type(model).parse_losses(model, losses)

    small = dry_run(model, make("sgd", model), batch).memory
    model.parse_losses = greedy
    large = dry_run(model, make("sgd", model), batch).memory
    assert standing[0] == 1 and small < 120e6
    assert 200e6 < large < 240e6 + 120e6


def test_the_table():
    run = DryRun(
        batch="2 images padded to 1333x800, at most 37 objects",
        losses=({"loss_cls": 1.0, "loss": 1.5}, {"loss_cls": 0.9, "loss": 1.25}),
        seconds=(2.0, 0.5),
        memory=5_100_000_000,
        gpu=True,
        gpu_memory=24_000_000_000,
        without_gradient=(),
        frozen=("a", "b"),
        finite_gradients=True,
        iterations=1200,
    )
    assert run.table() == [
        ("verdict", "go"),
        ("worst batch", "2 images padded to 1333x800, at most 37 objects"),
        ("loss_cls", "1 -> 0.9"),
        ("loss", "1.5 -> 1.25"),
        ("step", "0.50 s"),
        ("memory", "5.1 GB of the GPU's 24.0 GB"),
        ("epoch", "at most 10 minutes, loading not counted"),
        ("frozen parameters", "2"),
        ("parameters without gradient", "none"),
    ]


# --- a batch that fits ------------------------------------------------------------------------------------------------
def asked(objects=5):
    """An image that is only asked for its size and its objects."""
    sample = types.SimpleNamespace(gt_instances=range(objects), metainfo={})
    worst = as_batch([{"inputs": torch.empty(3, 800, 1333, device="meta"), "data_samples": sample}])
    return {"worst": worst, "smaller": "the scale of the Resize transforms"}


def memory_for(most, tried):
    def try_batch(size):
        tried.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    return try_batch


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "most", "tried", "result"),
    [
        (8, 1, 8, [8], (8, 1)),
        (8, 2, 3, [8, 4, 2], (2, 8)),
        (6, 1, 2, [6, 3, 1], (1, 6)),
        (5, 2, 2, [5, 2], (2, 5)),
    ],
)
def test_the_batch_is_halved_until_it_fits_and_the_step_keeps_its_images(batch_size, accumulate, most, tried, result):
    seen = []
    size, times, line = fitting_batch(memory_for(most, seen), batch_size, accumulate, **asked())
    assert (size, times) == result and size * times == batch_size * accumulate and seen == tried
    assert (line is None) == (size == batch_size)


def test_the_line_says_what_took_whose_place():
    assert fitting_batch(memory_for(2, []), 8, 1, **asked())[2] == (
        "batch_size=8 does not fit the memory: batch_size=2 and accumulate=4 take its place, 8 images a step as before"
    )


def test_memory_of_the_cpu_counts_too():
    def try_batch(size):
        if size > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")

    assert fitting_batch(try_batch, 2, 1, **asked())[:2] == (1, 2)


def test_other_errors_pass():
    def try_batch(size):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        fitting_batch(try_batch, 2, 1, **asked())


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (5, r"with 1 image of 1333x800 with 5 objects; lower the scale of the Resize transforms"),
        (900, r"comparing 900 objects with some 199,950 anchors takes 686 MiB at a time; compare on the CPU \(gpu_as"),
    ],
)
def test_one_image_that_does_not_fit_names_its_cause(objects, message):
    with pytest.raises(ConfigError, match=r"not even batch_size=1 fits the memory \(CUDA out of memory\).*") as caught:
        fitting_batch(memory_for(0, []), 4, 1, **asked(objects))
    assert caught.match(message) and "\n" not in str(caught.value)


def test_a_volume_run_with_a_smaller_batch_takes_as_many_steps(config, prepared, monkeypatch):
    """What happens on a GPU whose memory takes one patch of two."""
    plan = make_plan(load_config(config(), ["batch_size=2", "ema=0.19"]), prepared)
    seen, networks = [], []

    def trial(model, wrapper, batch, **_):
        seen.append((len(batch.data["inputs"]), batch.described()))
        networks.append(model)
        if len(seen) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    monkeypatch.setattr(train_module, "training_device", lambda: torch.device("meta"))
    monkeypatch.setattr(train_module, "dry_run", trial)
    line = train_module.fit_batch(plan)
    assert line.startswith("batch_size=2 does not fit the memory: batch_size=1 and accumulate=2 take its place")
    assert seen == [(2, "2 patches of 1x8x12x12"), (1, "1 patch of 1x8x12x12")]
    assert networks[0] is not networks[1]  # what ran out of memory half-way is not tried again
    assert plan.images_per_step == 2 and plan.iterations_per_epoch == 8
    assert plan.config.ema == pytest.approx(0.1)
    plan.check_training()


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    for key, value in {"RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"process 2 of this machine has no GPU.*there are 1; .*--nproc_per_node=1"):
        join_processes()


# --- sizes ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda x: nn.functional.conv2d(x, torch.zeros(1, 3, 5, 5)), (1, 3, 4, 4)),
        (lambda x: nn.functional.max_pool2d(x, 4), (1, 3, 3, 3)),
        (lambda x: nn.BatchNorm2d(3)(x), (1, 3, 1, 1)),
        (lambda x: torch.cat([x, nn.functional.interpolate(x[..., ::2, ::2], scale_factor=2)], dim=1), (1, 3, 5, 5)),
        (lambda x: x + nn.functional.interpolate(x[..., ::2, ::2], scale_factor=2), (1, 3, 5, 5)),
    ],
    ids=["convolution", "pooling", "batch norm", "concatenation", "sum"],
)
def test_a_size_that_a_network_cannot_take_is_said_in_its_own_terms(network, shape):
    with (
        pytest.raises(ConfigError, match=r"cannot take samples of this size .*raise the scale.*multiples of 32"),
        sizes_explained("the scale"),
    ):
        network(torch.zeros(shape))


def test_a_pooled_image_alone_in_its_batch_needs_another_beside_it():
    with pytest.raises(ConfigError, match="raise batch_size to 2, or raise the scale"), sizes_explained("the scale"):
        nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))


def test_errors_that_are_not_about_sizes_stay_what_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), sizes_explained("the scale"):
        nn.Linear(3, 2)(torch.zeros(1, 4))


def test_a_network_that_asks_for_iteration_and_epoch_is_told(model, batch):
    from mmdet.models.data_preprocessors import BatchSyncRandomResize

    told, loss = [], model.bbox_head.loss_by_feat

    def asking(*args, **kwargs):
        told.append(MessageHub.get_current_instance().get_info("epoch"))
        return loss(*args, **kwargs)

    model.bbox_head.loss_by_feat = asking
    sizes = BatchSyncRandomResize(random_size_range=(64, 96), size_divisor=32, interval=1)
    model.data_preprocessor.batch_augments = [sizes]
    assert len(dry_run(model, make("sgd", model), batch).losses) == 2
    assert told == [0, 0]
    assert sizes._input_size is not None
