"""A network sees at inference what it saw in training: the same grid, normalisation and padding."""

import numpy as np
import pytest
import torch
from torch import nn

from densekit.datasets.volume.dataset import VolumeDataset, VolumePatchDataset
from densekit.datasets.volume.prepare.source import CaseSource, SourceDataset
from densekit.datasets.volume.store import write_store
from densekit.inference.volume.predictor import VolumePredictor
from densekit.io import Geometry, write_image, write_label
from densekit.models.assemblies import VolumeSegmentor
from densekit.models.heads import LogitsHead
from densekit.ops.window_settings import WindowSettings

WINDOW = (12, 16, 14)


class Recorder(nn.Module):
    """Keeps the windows it is given and answers with two classes."""

    spatial_dims, in_channels, out_channels, out_strides = 3, 1, (2,), ((1, 1, 1),)

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.clone())
        return (torch.cat([x, -x], dim=1),)


@pytest.mark.parametrize(("normalization", "spacing"), [("zscore", None), ("ct", None), ("ct", (2.0, 1.5, 1.5))])
def test_a_scan_smaller_than_the_patch(tmp_path, normalization, spacing):
    geometry = Geometry((11, 13, 9), np.diag([1.0, 1.0, 2.0, 1.0]))
    rng = np.random.default_rng(0)
    label = np.zeros((9, 13, 11), np.uint8)
    label[2:6, 3:8, 4:8] = 1
    image = (rng.normal(40, 60, label.shape) + 100 * label).astype(np.int16)
    write_image(tmp_path / "scan.nii.gz", image, geometry)
    write_label(tmp_path / "label.nii.gz", label, geometry, like=None, names=None)
    case = CaseSource("c", (tmp_path / "scan.nii.gz",), tmp_path / "label.nii.gz", "train")
    source = SourceDataset(
        "s", "test", ("CT",), ("background", "box"), (case,), normalization=normalization, spacing=spacing
    )
    store = write_store(source, tmp_path / "data")

    trained_on = VolumePatchDataset(tmp_path / "data", "train", WINDOW, batch_size=1, length=1)[0]["inputs"]

    network = Recorder()
    model = VolumeSegmentor(network, head=LogitsHead(2))
    predictor = VolumePredictor(model, store.preprocessing, store.labels, WindowSettings(WINDOW), "cpu")
    found = predictor.predict(tmp_path / "scan.nii.gz").labels
    stored, sample = store.case("c"), VolumeDataset(tmp_path / "data", "train")[0]
    validated = predictor.label_map(stored.spatial(sample["inputs"].numpy()), stored.statistics, name="c")

    assert trained_on.shape == (1, *WINDOW)
    read, prepared = network.seen  # one window each
    assert torch.equal(read, prepared)
    torch.testing.assert_close(read[0], trained_on, atol=1e-5, rtol=0)
    assert np.array_equal(found, validated)
    assert np.array_equal(sample["data_samples"]["label"], label)
