"""A score of validation is the score that `densekit test` gives to the same weights, to the last bit."""

import csv

import numpy as np
import pytest
import torch

from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.store import write_store
from densekit.io import Geometry, write_image, write_label
from densekit.tasks.verbs import test as score
from densekit.tasks.verbs import train

LABELS = ("background", "left kidney", "right kidney")
CONFIG = """
task = "volume"

from densekit.models.assemblies.volume_segmentor import VolumeSegmentor
from densekit.models.backbones.monai_network import MonaiNetwork
from densekit.models.heads.volume_head import LogitsHead

network = dict(type=MonaiNetwork, name="UNet", args=dict(channels=(4, 8), strides=(2,), norm="batch"))
model = dict(type=VolumeSegmentor, backbone=network, head=dict(type=LogitsHead))
del network
train_pipeline = None
patch_size = (8, 12, 12)
batch_size, iterations_per_epoch, max_epochs, val_interval = 2, 8, 2, 1
num_workers = pictures = 0
surface_metrics = True
optimizer = dict(type="AdamW", lr=1e-2)
"""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    (folder / "tiny.py").write_text(CONFIG)
    return folder / "tiny.py"


def make_case(folder, name, seed, dtype):
    """One scan of 15x21x17 voxels, oblique and LAS, with noise, a border of air and two organs."""
    rng = np.random.default_rng(seed)
    label = np.zeros((15, 21, 17), np.uint8)
    for value, side in ((1, 9), (2, 2)):
        d, h = rng.integers(2, 7, 2)
        label[d : d + 6, h : h + 9, side : side + 6] = value
    image = rng.normal(40, 60, label.shape) + 90 * label
    image[:, :2] = image[:, :, -1:] = -1000
    turn = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, 1.2, 2.5])
    paths = folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz"
    geometry = Geometry((17, 21, 15), affine)
    write_image(paths[0], image.astype(dtype), geometry)
    write_label(paths[1], label, geometry, like=None, names=None)
    return paths


@pytest.fixture
def prepare(tmp_path):
    """Function that writes two training and three validation scans and prepares them."""

    def prepared(spacing, normalization="ct", dtype=np.int16, second=None):
        """With ``second`` there is another channel, which one case of validation has and the others lack; it says
        whether the first may lack as well, and it does in one case."""
        (tmp_path / "raw").mkdir()
        cases = []
        for number, split in enumerate(["train"] * 2 + ["val"] * 3):
            image, label = make_case(tmp_path / "raw", f"case{number}", number, dtype)
            images = (image,)
            if second is not None:
                lacks = {3: (image, None), 4: (None, image) if second else (image, None)}
                images = lacks.get(number, (image, image))
            cases.append(CaseSource(f"case{number}", images, label, split))
        channels = ("CT",) if second is None else ("CT", "PET")
        source = SourceDataset(
            "organs",
            "test",
            channels,
            LABELS,
            tuple(cases),
            optional_channels=channels[1:] if not second else channels,
            normalization=normalization,
            spacing=spacing,
            mirror_pairs=(LABELS[1:],),
        )
        return write_store(source, tmp_path / "data").path

    return prepared


MIRRORED = 'inference.mirror_axes=("left-right","anterior-posterior")'


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({"spacing": None}, ["inference.overlap=0.25", "inference.batch=3"]),
        ({"spacing": (3.0, 2.0, 1.0)}, [MIRRORED]),
        ({"spacing": (2.0, 1.5, 1.5), "normalization": "zscore"}, ["ema=0.1"]),
        ({"spacing": (2.5, 1.2, 2.5), "dtype": np.float32}, ["inference.window=(16, 24, 16)", "num_workers=1"]),
        ({"spacing": (4.0, 2.0, 2.0), "dtype": np.int32}, ["amp=bf16"]),
        ({"spacing": (3.0, 2.0, 1.5), "second": False}, []),
        ({"spacing": (3.0, 2.0, 1.5), "second": True, "normalization": "zscore"}, []),
    ],
    ids=[
        *("own grid", "mirrored", "average of weights", "scan smaller than window", "mixed precision"),
        *("lacking a channel", "lacking the first channel"),
    ],
)
def test_validation_scores_are_those_of_the_test_to_the_last_bit(config, prepare, tmp_path, data, options):
    root = prepare(**data)
    runner = train(config, data=root, work_dir=tmp_path / "run", options=options)
    validated = runner.val_loop.evaluator.metrics[0].last_table
    tested = score(tmp_path / "run" / "last.pth", data=root, split="val", out=tmp_path / "scores")
    assert not tested.failures
    assert len(tested.scores) == 3 * 2
    assert validated.scores == tested.scores  # of every case: Dice, HD95, surface Dice, volumes
    assert any(0 < one.dice < 1 for one in tested.scores)
    with (tmp_path / "run" / "scalars.csv").open() as file:
        last = {row["name"]: row["value"] for row in csv.DictReader(file) if row["epoch"] == "2"}
    assert last["dice"] == f"{tested.overall().dice.value:.6g}"
    assert last["dice/left kidney"] == f"{tested.structure('left kidney').dice.value:.6g}"


def test_pictures_are_drawn_of_resampled_cases(config, prepare, tmp_path):
    root = prepare((4.0, 2.0, 2.0))
    train(config, data=root, work_dir=tmp_path / "run", options=["max_epochs=1", "pictures=2"])
    assert (tmp_path / "run" / "pictures" / "epoch_0001.png").is_file()
