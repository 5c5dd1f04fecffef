from tests.datasets.segmentation.conftest import found, labels

NAME = "{}/{}/bochum/bochum_000000_000001_{}.png"


def cityscapes(maker, kind, values):
    for split in ("train", "val", "test"):
        maker.image(NAME.format("leftImg8bit", split, "leftImg8bit"))
        maker.mask(NAME.format("gtFine", split, f"gtFine_{kind}"), values=values)
        maker.mask(NAME.format("gtFine", split, "gtFine_instanceIds"), values=(26001,), dtype="uint16")


def test_label_ids_become_19_classes_and_the_others_are_ignored(maker):
    cityscapes(maker, "labelIds", (7, 0, 33))
    data = maker.prepare()
    assert data.format == "cityscapes" and len(data.classes) == 19 and set(data.splits) == {"train", "val"}
    assert labels(data) == [0, 255, 18] and "zero-unlabelled" not in found(data)


def test_train_ids_are_taken_where_they_are(maker):
    cityscapes(maker, "labelIds", (7, 0, 33))
    cityscapes(maker, "labelTrainIds", (0, 255, 18))
    data = maker.prepare()
    assert labels(data, "val") == [0, 255, 18] and data.splits["val"][0].mask.endswith("labelTrainIds.png")
