import pytest

from tests.datasets.segmentation.conftest import labels


@pytest.mark.parametrize(("ending", "values"), [("", (12, 181, 255)), ("_labelTrainIds", (11, 170, 255))])
def test_category_ids_less_one_and_train_ids_are_one_and_the_same(maker, ending, values):
    for split in ("train2017", "val2017"):
        maker.image(f"images/{split}/000000000009.jpg")
        maker.mask(f"annotations/{split}/000000000009{ending}.png", values=values)
    data = maker.prepare()
    assert data.format == "coco_stuff" and len(data.classes) == 171
    assert labels(data, "val") == [11, 170, 255] and (data.classes[11], data.classes[170]) == ("stop sign", "wood")
