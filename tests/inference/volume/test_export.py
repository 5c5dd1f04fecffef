"""Scores come back to the scan's grid exactly, structures are measured, nothing wrong is seen under its final name."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densekit.errors import OutputError
from densekit.inference.volume import export
from densekit.inference.volume.export import best_labels, measure, write_checked
from densekit.io import Geometry, read_label
from densekit.io.staging import publish, staging_folder

torch.set_num_threads(1)

GRIDS = [
    ((6, 7, 8), (6, 7, 8)),
    ((6, 7, 8), (13, 15, 9)),
    ((12, 9, 10), (5, 4, 3)),
    ((9, 8, 8), (10, 5, 16)),
    ((1, 4, 4), (5, 8, 8)),
    ((7, 1, 5), (1, 3, 1)),
]


def scores(shape, classes=5):
    return torch.randn(classes, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("grid", "target"), GRIDS)
def test_running_maximum_equals_full_interpolation_and_argmax(grid, target):
    coarse = scores(grid)
    full = F.interpolate(coarse[None], size=target, mode="trilinear", align_corners=False)[0]
    labels = best_labels([coarse], target, rows=grid[0])
    assert labels.dtype is torch.uint8
    differ = labels.long() != full.argmax(0)
    best, second = full.topk(2, dim=0).values
    assert differ.sum() <= 1  # the order of float operations is another one: a tie may fall the other way
    assert (best - second)[differ].max(initial=0) < 1e-5 if differ.any() else True


@pytest.mark.parametrize(("grid", "target"), GRIDS)
@pytest.mark.parametrize("cut", [[1], [3], [2, 1, 4]])
@pytest.mark.parametrize("chunk", [1, 2**23])
def test_slabs_give_bit_equal_labels(grid, target, cut, chunk, monkeypatch):
    monkeypatch.setattr(export, "_CHUNK_VOXELS", chunk)
    coarse = scores(grid)
    sizes = (cut * grid[0])[: grid[0]]
    ends = [min(sum(sizes[: i + 1]), grid[0]) for i in range(len(sizes))]
    slabs = [coarse[:, a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]
    assert torch.equal(best_labels(slabs, target, rows=grid[0]), best_labels([coarse], target, rows=grid[0]))


def test_equal_scores_go_to_the_lower_label():
    even = torch.zeros(4, 3, 3, 3)
    assert best_labels([even], (6, 6, 6), rows=3).max() == 0
    even[2:] = 1
    assert best_labels([even], (6, 6, 6), rows=3).unique().tolist() == [2]


def test_measure_counts_and_says_what_is_cut_off():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[5, 2:4, 3:5] = 1  # the last slice: superior
    labels[2:4, 0, 7] = 2  # anterior and left
    found = measure(labels, ["background", "liver", "spleen", "aorta"], voxel_ml=0.5)
    assert [(s.name, s.label, s.voxels, s.volume_ml) for s in found] == [
        ("liver", 1, 4, 2.0),
        ("spleen", 2, 2, 1.0),
        ("aorta", 3, 0, 0.0),
    ]
    assert [s.touches_border for s in found] == [("superior",), ("anterior", "left"), ()]


def test_measure_takes_labels_above_255():
    labels = np.full((2, 2, 2), 300, np.int16)
    assert measure(labels, [str(i) for i in range(301)], 1.0)[-1].voxels == 8


@pytest.fixture
def grid():
    return Geometry((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def labels(grid):
    return np.random.default_rng(0).integers(0, 3, grid.canonical_shape).astype(np.uint8)


def test_written_file_is_the_prediction(tmp_path, grid, labels):
    path = tmp_path / "case.nii.gz"
    write_checked(path, labels, grid, like=None, names=["background", "a", "b"])
    assert np.array_equal(read_label(path).array[0], labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels, grid: (labels, Geometry(grid.shape, grid.affine + 0.5 * np.eye(4, k=3))), "mm"),
        (lambda labels, grid: (labels, Geometry(grid.shape, np.diag([-1, 1, 1, 1]) @ grid.affine)), "mm|axes"),
        (lambda labels, grid: (np.where(labels == 1, 2, labels).astype(np.uint8), grid), "another label"),
    ],
    ids=["moved", "mirrored", "voxels"],
)
def test_a_file_that_is_not_the_prediction_breaks_the_contract(tmp_path, monkeypatch, grid, labels, change, message):
    honest = export.write_label

    def dishonest(path, labels, geometry, **rest):
        honest(path, *change(labels, geometry), **rest)

    monkeypatch.setattr(export, "write_label", dishonest)
    with pytest.raises(OutputError, match=message):
        write_checked(tmp_path / "case.nii.gz", labels, grid, like=None, names=["background", "a", "b"])


def test_a_file_that_cannot_be_read_back_breaks_the_contract(tmp_path, monkeypatch, grid, labels):
    monkeypatch.setattr(export, "write_label", lambda path, *_, **__: path.write_bytes(b"not a volume"))
    with pytest.raises(OutputError, match="cannot be read back"):
        write_checked(tmp_path / "case.nii.gz", labels, grid, like=None, names=["background", "a", "b"])


def test_staged_files_appear_together_or_not_at_all(tmp_path):
    with pytest.raises(KeyboardInterrupt), staging_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert list((tmp_path / "out").iterdir()) == []
    with staging_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        (folder / "b").write_text("2")
        publish(folder, tmp_path / "out", last="a")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "b"]


def test_a_file_in_the_way_of_the_folder_is_one_clear_line(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"), staging_folder(tmp_path / "out"):
        pass
