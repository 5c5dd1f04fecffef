"""The same image twice, told by its bytes or by its looks."""

import numpy as np
import pytest
from PIL import Image

from densekit import progress
from densekit.datasets.shared import similar
from densekit.datasets.shared.image_files import read_headers
from densekit.datasets.shared.similar import same_files, similar_pairs


@pytest.fixture
def files(tmp_path):
    """A scene, a copy of it, a smaller and darker JPEG of it, and another scene."""
    rng = np.random.default_rng(0)
    scene, other = (Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((160, 120)) for _ in range(2))
    scene.save(tmp_path / "a.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    scene.resize((80, 60)).point(lambda v: 0.7 * v).save(tmp_path / "small.jpg", quality=80)
    other.save(tmp_path / "other.png")
    return [str(tmp_path / name) for name in ("a.png", "copy.png", "small.jpg", "other.png", "missing.png")]


def test_copies(files):
    assert list(same_files(files, read_headers(files))) == [[0, 1]]


def test_looks_are_compared_across_splits_only(files):
    headers = read_headers(files)
    pairs = list(similar_pairs(files, headers, ["val", "val", "train", "train", "val"], {1}))
    assert [(one, other) for one, other, _ in pairs] == [(2, 0)]  # train before val
    assert pairs[0][2] > 0.98
    assert list(similar_pairs(files, headers, ["train"] * 5, set())) == []


def test_many_images_are_not_compared_in_silence(files, monkeypatch, caplog):
    headers = read_headers(files)
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    list(similar_pairs(files, headers, ["val", "val", "train", "train", "val"], {1}))
    assert [message.partition(" (")[0] for message in caplog.messages] == ["1 of 3 images compared by their looks"]


def test_too_many_pixels_are_not_compared(files, monkeypatch):
    monkeypatch.setattr(similar, "PIXELS", 1000)
    assert similar_pairs(files, read_headers(files), ["train", "val", "val", "val", "val"], set()) is None
