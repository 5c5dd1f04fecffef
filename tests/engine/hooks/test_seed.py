"""Random numbers inside the network follow from seed and iteration."""

import random
from types import SimpleNamespace

import torch
from mmdet.models.data_preprocessors import BatchSyncRandomResize

from densekit.engine.hooks import StatelessSeedHook


def runner(iteration, **augments):
    model = SimpleNamespace(data_preprocessor=SimpleNamespace(**augments))
    return SimpleNamespace(iter=iteration, rank=0, bare_model=lambda: model)


def test_what_torch_and_python_draw_depends_on_the_iteration_alone():
    drawn = []
    for iteration in (3, 4, 3):
        StatelessSeedHook(1).before_train_iter(runner(iteration), 0)
        drawn.append((random.random(), float(torch.rand(()))))
    assert drawn[0] == drawn[2]
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


def test_a_size_that_was_drawn_for_several_batches_is_in_last_pth():
    """A run that is stopped between two draws goes on with it."""
    sizes = []
    for augment in (BatchSyncRandomResize(random_size_range=(64, 128), size_divisor=32), None):
        if augment is not None:
            augment._input_size = (64, 96)
        state, resumed = {}, BatchSyncRandomResize(random_size_range=(64, 128), size_divisor=32)
        StatelessSeedHook(1).before_save_checkpoint(runner(8, batch_augments=augment and [augment]), state)
        going_on = runner(8, batch_augments=[resumed])
        going_on.resuming = True
        StatelessSeedHook(1).after_load_checkpoint(going_on, state)
        sizes.append(resumed._input_size)
    assert sizes == [(64, 96), None]
