"""A prepared data set of bright blobs, a config that learns them in seconds, and runs of it to look at."""

from pathlib import Path

import numpy as np
import pytest
import torch

from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.store import write_store
from densekit.io import Geometry, write_image, write_label
from densekit.package import load_checkpoint
from densekit.tasks import train

CONFIG = """
from mmengine.config import read_base

with read_base():
    from {base} import *

from densekit.models.assemblies.volume_segmentor import VolumeSegmentor
from densekit.models.backbones.dformer import DFormer
from densekit.models.heads.patch_expanding_head import PatchExpandingHead
from densekit.models.necks.dformer_decoder import DFormerDecoder

model = dict(
    type=VolumeSegmentor,
    backbone=dict(
        type=DFormer, widths=(8, 16), depths=(2, 2), heads=(1, 2), patch=(2, 2, 2), unit=(2, 2, 2), drop_path=0.2
    ),
    neck=dict(type=DFormerDecoder, in_channels=(8, 16), depths=(2,), heads=(1,), patch=(2, 2, 2), unit=(2, 2, 2)),
    head=dict(type=PatchExpandingHead, in_channels=(8,), patch=(2, 2, 2), deep_supervision=1),
)
patch_size = (8, 12, 12)
batch_size = 2
iterations_per_epoch = 4
max_epochs = 4
val_interval = 2
num_workers = 0
optimizer = dict(type="AdamW", lr=1e-2)
log_interval = 2
{more}
"""


def make_case(folder: Path, name: str, seed: int) -> tuple[Path, Path]:
    """One scan of 16x20x18 voxels with two bright boxes, written as NIfTI."""
    rng = np.random.default_rng(seed)
    geometry = Geometry((18, 20, 16), np.diag([1.5, 1.5, 2.0, 1.0]))
    label = np.zeros((16, 20, 18), np.uint8)
    for value in (1, 2):
        corner = rng.integers(1, 9, 3)
        label[tuple(slice(c, c + 6) for c in corner)] = value
    image = (rng.normal(0, 10, label.shape) + 80 * label.astype(float)).astype(np.int16)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz"
    write_image(paths[0], image, geometry)
    write_label(paths[1], label, geometry, like=paths[0], names=["background", "near", "far"])
    return paths


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Folder with 4 training, 2 validation and 2 test cases of 2 classes."""
    folder = tmp_path_factory.mktemp("blobs")
    (folder / "raw").mkdir()
    cases = []
    for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        image, label = make_case(folder / "raw", f"case{number}", number)
        cases.append(CaseSource(f"case{number}", (image,), label, split))
    source = SourceDataset(
        "blobs", "test", ("MR",), ("background", "near", "far"), tuple(cases), normalization="zscore", spacing=None
    )
    write_store(source, folder / "data")
    return folder / "data"


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """Function that writes a config file to a folder of its own; keyword arguments replace keys, ``more`` is added."""

    def write(more="", **keys):
        folder = tmp_path_factory.mktemp("config")
        lines = "\n".join([more, *(f"{key} = {value!r}" for key, value in keys.items())])
        path = folder / "tiny.py"
        path.write_text(CONFIG.format(base="densekit.configs._base_.volume", more=lines))
        return path

    return write


SHORT = ["max_epochs=2", "val_interval=1", "pictures=0"]


def weights(folder, name="last.pth"):
    return load_checkpoint(folder / name).state_dict


def assert_bit_equal(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def command(config, prepared, work_dir, *more):
    return ["train", config, "--data", prepared, "--work-dir", work_dir, *more]


def messages(folder):
    """What the log of the newest start says."""
    return max(folder.glob("*/*.log"), key=lambda path: path.stat().st_mtime).read_text()


@pytest.fixture(scope="module", autouse=True)
def no_curves():
    """Drawing them takes longer than a training of a few steps; the runs that are looked at are processes that do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("densekit.engine.hooks.records.write_curves", lambda *args, **options: None)
        yield


@pytest.fixture
def one_thread():
    """Results are compared to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, launcher, prepared, config):
    """Config and folder of a run of four epochs that nothing disturbed; nothing in it may be changed."""
    path, folder = config(), tmp_path_factory.mktemp("trained")
    run = launcher.command(*command(path, prepared, folder)).wait()
    assert run.returncode == 0, run.stderr
    return path, folder, run.stdout + run.stderr


@pytest.fixture(scope="session")
def short_run(tmp_path_factory, prepared, config):
    """Config and folder of a run of two epochs; copy the folder before changing anything in it."""
    path, folder = config(), tmp_path_factory.mktemp("short")
    train(path, data=prepared, work_dir=folder, options=SHORT)
    return path, folder
