from tests.datasets.segmentation.conftest import found, labels


def test_zero_is_ignored_and_1_is_wall(maker):
    for split in ("training", "validation"):
        maker.image(f"images/{split}/ADE_{split}_1.jpg")
        maker.mask(f"annotations/{split}/ADE_{split}_1.png", values=(0, 1, 150))
    data = maker.prepare()
    assert (
        data.format == "ade20k"
        and len(data.classes) == 150
        and (data.classes[0], data.classes[149]) == ("wall", "flag")
    )
    assert labels(data) == labels(data, "val") == [255, 0, 149]
    assert data.counts["val"]["ignored"] == 72 and "zero-unlabelled" not in found(data)
    assert labels(maker.prepare(classes=["flag"])) == [255, 0]
