"""What is other in the last epochs."""

from types import SimpleNamespace

import pytest

from densekit.engine.hooks import FinalEpochsHook


@pytest.mark.parametrize(("epoch", "there"), [(0, False), (6, False), (7, True), (9, True)])
def test_an_attribute_is_set_from_the_first_of_the_last_epochs_on(epoch, there):
    """A run that is resumed in epoch 9 knows it as well."""
    model = SimpleNamespace(bbox_head=SimpleNamespace(use_l1=False))
    runner = SimpleNamespace(epoch=epoch, max_epochs=10, bare_model=lambda: model)
    FinalEpochsHook(3, "bbox_head.use_l1").before_train_epoch(runner)
    assert model.bbox_head.use_l1 is there
