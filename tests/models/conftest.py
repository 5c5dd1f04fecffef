"""Small networks for the tests of densekit.models."""

import pytest
import torch

from densekit.models.assemblies import VolumeSegmentor
from densekit.models.backbones import DFormer
from densekit.models.heads import PatchExpandingHead
from densekit.models.necks import DFormerDecoder


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_dformer():
    """Makes D-Formers of three narrow stages: patch (1, 2, 2), strides up to (4, 8, 8), 3 classes."""

    def make(*, supervision=2, skip="concat", **options):
        shared = {"patch": (1, 2, 2), "unit": (2, 4, 4), **options}
        backbone = DFormer(1, widths=(8, 16, 32), depths=(2, 2, 2), heads=(1, 2, 4), **shared)
        neck = DFormerDecoder((8, 16, 32), depths=(2, 2), heads=(1, 2), skip=skip, **shared)
        head = PatchExpandingHead((8, 16), 3, patch=shared["patch"], deep_supervision=supervision)
        return VolumeSegmentor(backbone, neck=neck, head=head)

    return make
