"""Each part is asked once for what it says."""

import pytest

from densekit.models.assemble import assemble, parts
from densekit.models.assemble.parts import Wired, ask, find_part

R18 = {"type": "ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}


@pytest.mark.parametrize(
    "model",
    [
        {"backbone": R18, "neck": ["FPN", "SEPC"], "head": "SEPCGFLHead"},
        {"backbone": "dformer_tiny", "head": {"type": "PatchExpandingHead", "deep_supervision": 1},
         "neck": {"type": "DFormerDecoder", "depths": (2, 2), "heads": (1, 2)}},
    ],
)  # fmt: skip
def test_the_second_time_nothing_is_built(monkeypatch, model):
    first = assemble(**model, num_classes=3)
    built = []
    monkeypatch.setattr(parts, "built", lambda wired: built.append(wired))
    assert assemble(**model, num_classes=3) == first
    assert not built


def test_other_arguments_are_another_question():
    resnet = find_part("ResNet", "backbone")
    assert ask(Wired(resnet, {"depth": 18, "init_cfg": None})).gives.channels == (64, 128, 256, 512)
    some = ask(Wired(resnet, {"depth": 18, "init_cfg": None, "out_indices": (1, 3)})).gives
    assert (some.channels, some.strides) == ((128, 512), (8, 32))
    neck = Wired(find_part("FPN", "neck"), {"in_channels": [128, 512], "out_channels": 8, "num_outs": 2})
    assert ask(neck, some).gives.strides == (8, 32)
