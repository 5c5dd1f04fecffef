from tests.datasets.segmentation.conftest import found, labels


def test_zero_is_no_data_and_scenes_are_joined(maker):
    for split in ("Train", "Val"):
        for scene in ("Urban", "Rural"):
            maker.image(f"{split}/{scene}/images_png/1.png")
            maker.mask(f"{split}/{scene}/masks_png/1.png", values=(0, 1, 7))
    maker.image("Test/Urban/images_png/9.png")
    data = maker.prepare()
    assert data.format == "loveda" and {split: len(pairs) for split, pairs in data.splits.items()} == {
        "train": 2,
        "val": 2,
    }
    assert labels(data) == [255, 0, 6] and data.classes[6] == "agricultural"
    assert found(data)["image-without-mask"] == ("warning", 1)
