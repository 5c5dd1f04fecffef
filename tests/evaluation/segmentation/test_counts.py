"""Counted pixels, and the file that keeps them."""

import numpy as np
import pytest

from densekit.errors import DataError
from densekit.evaluation.segmentation import SegmentationCounts, count_image
from densekit.evaluation.segmentation.counts import pack_labels
from densekit.structures.label_images import IGNORED


def test_cells_are_pixels_of_each_pair_of_classes():
    truth = np.array([[0, 0, 1], [1, IGNORED, 2]], np.uint8)
    found = np.array([[0, 1, 1], [1, 2, 0]], np.uint8)
    counts = count_image(truth, found, 3)
    assert counts.cells.tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 2], [2, 0, 1]]
    assert counts.wrong == pytest.approx(2 / 5)


def test_an_image_of_nothing_but_ignored_pixels_counts_nothing():
    truth = np.full((4, 5), IGNORED, np.uint8)
    counts = count_image(truth, np.zeros_like(truth), 3)
    assert len(counts.cells) == len(counts.borders) == 0 and counts.wrong == 0


def test_errors_by_kind_add_up_to_the_wrong_pixels(label_images):
    for truth, found in label_images(4):
        counts = count_image(truth, found, 6)
        wrong = counts.cells[counts.cells[:, 0] != counts.cells[:, 1], 2].sum()
        assert counts.borders[:, 4:].sum() == wrong > 0


def test_a_large_image_is_counted_in_pieces(label_images, monkeypatch):
    ((truth, found),) = label_images(1)
    whole = count_image(truth, found, 6)
    monkeypatch.setattr("densekit.evaluation.segmentation.counts._PIXELS", 7 * truth.shape[1] + 3)
    pieces = count_image(truth, found, 6)
    assert np.array_equal(whole.cells, pieces.cells) and np.array_equal(whole.borders, pieces.borders)


def test_a_file_gives_back_what_was_written(label_images, tmp_path):
    pairs = label_images(3)
    images = [(f"Straße {n}.png", count_image(*pair, 6)) for n, pair in enumerate(pairs)]
    written = SegmentationCounts.join(list("abcdef"), images, predictions={2: pack_labels(pairs[2][1])})
    written.write(tmp_path / "counts.npz")
    read = SegmentationCounts.read(tmp_path / "counts.npz")
    assert (read.names, read.files, read.boundary) == (written.names, written.files, written.boundary)
    assert np.array_equal(read.cells, written.cells) and np.array_equal(read.borders, written.borders)
    assert np.array_equal(read.prediction(2), pairs[2][1]) and read.prediction(0) is None
    assert read.wrong().tolist() == pytest.approx([counts.wrong for _, counts in images])


@pytest.mark.parametrize("content", [b"", b"PK not a zip", None])
def test_a_file_of_something_else_is_named(tmp_path, content):
    path = tmp_path / "counts.npz"
    if content is None:
        np.savez(path, other=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"counts\.npz: holds no counts of a segmentation"):
        SegmentationCounts.read(path)
