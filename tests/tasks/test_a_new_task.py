"""A whole new task, image regression, registered from outside: a density map of each image and its sum, the count."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from densekit.cli import main
from densekit.config_tree import plain
from densekit.engine.plan import Plan
from densekit.engine.settings import Setting, instance, settings_of
from densekit.errors import DataError
from densekit.inference.device import choose_device
from densekit.inference.image_run import ImageRun, predict_images
from densekit.inference.images import ImagePredictor, ImageResult
from densekit.inference.inputs import IMAGES
from densekit.io.images import LoadedImage, load_image
from densekit.package import load_checkpoint
from densekit.registry import METRICS, MODELS
from densekit.tasks import base
from densekit.tasks.base import Option, Task, register


# --- the task ---------------------------------------------------------------------------------------------------------
def read_counts(folder):
    """Count by file name, of ``counts.csv`` beside the images."""
    with (Path(folder) / "counts.csv").open(newline="") as file:
        return {row["file"]: float(row["count"]) for row in csv.DictReader(file)}


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1).float() / 255


class Counted(Dataset):
    """Images of a folder with their counts."""

    def __init__(self, folder, split):
        self.rows = sorted(row for row in read_counts(folder).items() if row[0].startswith(split))
        self.folder = Path(folder)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        name, count = self.rows[i]
        return {"inputs": as_tensor(load_image(self.folder / name)), "data_samples": {"count": count}}


class DensityNetwork(BaseModel):
    """One convolution: image (B, 3, H, W) to density (B, H, W)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        density = self.layer(inputs)[:, 0]
        if mode == "tensor":
            return density
        counts = density.sum((1, 2))
        if mode == "loss":
            return {"loss": (counts - data_samples["count"].float()).abs().mean() / 10}
        return [{"found": float(a), "count": float(b)} for a, b in zip(counts, data_samples["count"], strict=True)]


class CountError(BaseMetric):
    """Minus the mean error of the count."""

    def process(self, data_batch, data_samples):
        self.results += [abs(sample["found"] - sample["count"]) for sample in data_samples]

    def compute_metrics(self, results):
        return {"closeness": -float(np.mean(results))}


class CountPlan(Plan):
    score = "closeness"
    validates = True
    class_names = ("things",)

    def __init__(self, config, data):
        super().__init__(config)
        self.root = Path(data or config.data_root or "")
        if not (self.root / "counts.csv").is_file():
            raise DataError(f"{self.root}: no counts.csv; write one with the columns file, count")
        self.config.data_root = str(self.root)

    @property
    def iterations_per_epoch(self):
        return len(Counted(self.root, "train")) // self.config.batch_size

    def model(self):
        return plain(self.config.model)

    def loader(self, split, size, shuffle):
        sampler = {"type": "DefaultSampler", "shuffle": shuffle}
        collate = {"type": "default_collate"}
        dataset = Counted(self.root, split)
        return {"batch_size": size, "dataset": dataset, "sampler": sampler, "collate_fn": collate, "num_workers": 0}

    def train_loader(self):
        return self.loader("train", self.config.batch_size, True)

    def validation(self, work_dir):
        evaluator = [{"type": "CountError"}]
        return {"val_dataloader": self.loader("val", 1, False), "val_cfg": {}, "val_evaluator": evaluator}


@dataclass
class Density(ImageResult):
    density: np.ndarray
    image: LoadedImage
    notes: tuple = ()
    seconds: dict = field(default_factory=dict)

    def to_dict(self):
        return {"count": round(float(self.density.sum()), 2)}

    def draw_on(self, image, *, size=None):
        heat = np.clip(255 * self.density / max(self.density.max(), 1e-6), 0, 255).astype(np.uint8)
        return Image.blend(image, Image.fromarray(heat).convert("RGB"), 0.5)


class CountPredictor(ImagePredictor):
    task = "count"

    @classmethod
    def from_checkpoint(cls, checkpoint, *, device="auto"):
        self = cls()
        checkpoint = load_checkpoint(checkpoint)
        checkpoint.require_task(cls.task)
        self.checkpoint, self.labels, self.device = checkpoint, checkpoint.labels, choose_device(device)
        self.network = checkpoint.build_model().to(self.device)
        return self

    def prepare(self, image):
        return {"inputs": as_tensor(image)[None]}

    def predict_prepared(self, data, image):
        with torch.no_grad():
            return Density(self.network(data["inputs"].to(self.device))[0].cpu().numpy(), image)


class CountRun(ImageRun):
    def facts(self, found):
        return found.to_dict()


@dataclass
class ErrorTable:
    errors: list
    failures: dict = field(default_factory=dict)

    def render(self):
        return f"mean error of the count: {np.mean(self.errors):.2f} on {len(self.errors)} images"


class CountTask(Task):
    name, does, inputs = "count", "counts things in images", IMAGES
    settings = settings_of(
        [Setting("model", {"type": "DensityNetwork"}, (instance(dict), "a dict with a type"), section="network")],
        changed={"optimizer": {"type": "SGD", "lr": 1e-5}, "max_epochs": 2},
    )

    options: ClassVar = {"prepare": (Option("--only", "so many images", {"type": int}),)}
    kinds = ("tally",)

    def prepare(self, kind, raw, out, *, only=None):
        out.mkdir()
        for file in sorted(raw.glob("*.png"))[:only]:
            (out / file.name).write_bytes(file.read_bytes())
        return 0

    def plan(self, config, data):
        return CountPlan(config, data)

    def predictor(self, checkpoint, *, device="auto", **options):
        return CountPredictor.from_checkpoint(checkpoint, device=device, **options)

    def predict_many(self, checkpoint, inputs, out, *, device="auto", overwrite=False):
        return predict_images(CountRun, self.predictor(checkpoint, device=device), checkpoint, inputs, out)

    def score(self, predictor, data, split=None, **how):
        data = Counted(data, split or "val")
        found = [predictor.predict(data.folder / name).to_dict()["count"] for name, _ in data.rows]
        return ErrorTable([abs(a - b) for a, (_, b) in zip(found, data.rows, strict=True)])

    def recognizes(self, path):
        return (path / "counts.csv").is_file()

    def check(self, path, *, json_path=None):
        missing = [name for name in read_counts(path) if not (path / name).is_file()]
        print(f"{path}: {', '.join(missing)} missing" if missing else f"{path}: sound")
        return 2 if missing else 0


# --- and that it is one -----------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def registered():
    MODELS.register_module(module=DensityNetwork)
    METRICS.register_module(module=CountError)
    register(CountTask)
    yield
    base._TASKS.pop("count")
    MODELS.module_dict.pop("DensityNetwork")
    METRICS.module_dict.pop("CountError")


@pytest.fixture
def data(tmp_path):
    """Six images of a few white pixels on black."""
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    folder.mkdir()
    rows = ["file,count"]
    for i in range(6):
        pixels, count = np.zeros((8, 8, 3), np.uint8), int(rng.integers(1, 9))
        pixels.reshape(64, 3)[rng.choice(64, count, replace=False)] = 255
        name = f"{'val' if i > 3 else 'train'}{i}.png"
        Image.fromarray(pixels).save(folder / name)
        rows.append(f"{name},{count}")
    (folder / "counts.csv").write_text("\n".join(rows))
    return folder


def test_it_trains_tests_predicts_and_checks_through_the_command_line(data, tmp_path, capsys):
    config, run, out = tmp_path / "count.py", tmp_path / "run", tmp_path / "out"
    config.write_text('task = "count"\nlog_interval = 1\n')
    assert main(["check", str(data)]) == 0
    assert "sound" in capsys.readouterr().out
    assert main(["train", str(config), "--data", str(data), "--work-dir", str(run), "--cfg-options", "seed=3"]) == 0
    assert {path.name for path in run.iterdir()} >= {"best.pth", "last.pth", "config.txt", "curves.png", "scalars.csv"}
    assert "val,closeness," in (run / "scalars.csv").read_text()
    capsys.readouterr()
    assert main(["test", str(run / "last.pth")]) == 0  # the checkpoint knows its data
    assert "on 2 images" in capsys.readouterr().out
    assert main(["predict", str(run / "best.pth"), str(data), "--out", str(out), "--device", "cpu"]) == 0
    found = json.loads((out / "results" / "val4.json").read_text())["count"]
    assert (
        found
        == CountPredictor.from_checkpoint(run / "best.pth", device="cpu").predict(data / "val4.png").to_dict()["count"]
    )
    assert (out / "pictures" / "val4.jpg").is_file() and "val4.png,ok" in (out / "results.csv").read_text()
    assert main(["train", str(config), "--data", str(data), "--dry-run"]) == 0


def test_it_prepares_its_own_kind_of_raw_data(data, tmp_path, capsys):
    assert main(["prepare", "tally", str(data), str(tmp_path / "out"), "--only", "2"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    for arguments, message in (
        (["tally", str(data), "x", "--native"], "--native: is for synapse, acdc, msd, nnunet, folder, phantom, and"),
        (["acdc", str(data), "x", "--only", "2"], "--only: is for tally, and"),
    ):
        assert main(["prepare", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_its_mistakes_are_one_line_each(data, tmp_path, capsys):
    config = tmp_path / "count.py"
    config.write_text('task = "cont"\n')
    assert main(["train", str(config), "--data", str(data)]) == 2
    assert "task='cont' is not known; did you mean 'count'?" in capsys.readouterr().err
    config.write_text('task = "count"\npatch_size = 3\n')
    assert main(["train", str(config), "--data", str(data)]) == 2
    assert "unknown key 'patch_size'" in capsys.readouterr().err
    config.write_text('task = "count"\n')
    assert main(["train", str(config), "--data", str(tmp_path)]) == 2
    assert "no counts.csv" in capsys.readouterr().err
    (data / "val5.png").unlink()
    assert main(["check", str(data)]) == 2
    assert "val5.png missing" in capsys.readouterr().out
