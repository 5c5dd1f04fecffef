import numpy as np
import pytest
import torch
from PIL import Image

from densekit.datasets.segmentation.dataset import SegmentationDataset
from densekit.datasets.shared.epochs import SeededDataset
from densekit.errors import ConfigError


def test_samples_are_those_of_mmsegmentation(maker):
    maker.pairs("a", "b", values=(0, 1, 255))
    data = maker.prepare(seed=None)
    images = SegmentationDataset(data, "train", [])
    assert len(images) == 2 and images.metainfo["classes"] == ("0", "1")
    item, pair = images[1], data.splits["train"][1]
    assert item["inputs"].dtype == torch.uint8
    np.testing.assert_array_equal(item["inputs"].numpy()[::-1].transpose(1, 2, 0), np.asarray(Image.open(pair.image)))
    truth = item["data_samples"].gt_sem_seg.data
    assert truth.dtype == torch.int64 and truth.shape == (1, 12, 16)
    np.testing.assert_array_equal(truth[0], data.read_labels(pair))
    assert item["data_samples"].metainfo["img_path"] == pair.image
    assert item["data_samples"].metainfo["ori_shape"] == (12, 16)


def test_labels_follow_the_image_in_training_and_keep_their_size_in_a_test(maker):
    maker.pairs("a", "b", values=(0, 1))
    resize = [{"type": "Resize", "scale": (8, 6), "keep_ratio": True}]
    data = maker.prepare()
    trained = SegmentationDataset(data, "train", resize)[0]
    tested = SegmentationDataset(data, "val", resize, test=True)[0]
    assert trained["inputs"].shape == tested["inputs"].shape == (3, 6, 8)
    assert trained["data_samples"].gt_sem_seg.shape == (6, 8) and tested["data_samples"].gt_sem_seg.shape == (12, 16)


def test_what_is_drawn_depends_on_seed_and_index_alone(maker):
    maker.pairs("a", "b", "c", values=(0, 1))
    crop = [{"type": "RandomCrop", "crop_size": (5, 5)}, {"type": "RandomFlip", "prob": 0.5}]
    images = SegmentationDataset(maker.prepare(seed=None), "train", crop)
    first, second = SeededDataset(images, 3), SeededDataset(images, 3)
    seen = [first[n]["inputs"] for n in range(6)]
    assert all(torch.equal(second[n]["inputs"], seen[n]) for n in reversed(range(6)))
    assert not torch.equal(seen[0], seen[3])
    assert first.get_data_info(4)["width"] == 16


def test_images_of_other_channels(maker):
    for stem in "ab":
        pages = [Image.fromarray(np.full((12, 16), 100 * n, np.uint16)) for n in range(1, 6)]
        pages[0].save(maker.path(f"images/{stem}.tif"), save_all=True, append_images=pages[1:])
        maker.mask(f"masks/{stem}.png")
    data = maker.prepare()
    assert data.channels == 5 and data.ranges == {"integer": (0, 1023)}
    inputs = SegmentationDataset(data, "train", [{"type": "RandomFlip", "prob": 1.0}])[0]["inputs"]
    assert inputs.shape == (5, 12, 16) and inputs[4, 0, 0].item() == pytest.approx(500 / 1023 * 255)


def test_a_split_that_is_not_there_is_refused(maker):
    maker.pairs("a", "b")
    with pytest.raises(ConfigError, match=r"no split 'vall' .*did you mean 'val'"):
        SegmentationDataset(maker.prepare(), "vall", [])
