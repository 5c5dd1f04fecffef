"""Mistyped names and arguments are answered with the close ones."""

import pytest
from mmengine.registry import OPTIMIZERS
from torch import nn

from densekit.errors import ConfigError, close_names
from densekit.registry import MODELS, check_config


@MODELS.register_module()
class PartOfTheRegistryTest(nn.Module):
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.num_classes, self.width = num_classes, width


def test_a_part_is_built_by_name_and_by_class():
    for kind in ("PartOfTheRegistryTest", PartOfTheRegistryTest):
        part = MODELS.build({"type": kind, "num_classes": 3})
        assert (part.num_classes, part.width) == (3, 8)


def test_a_mistyped_name_is_answered_with_the_close_ones():
    with pytest.raises(
        ConfigError, match=r"'PartOfTheRegistyTest' is not a registered model; did you mean 'PartOfTheRegistryTest'"
    ):
        MODELS.build({"type": "PartOfTheRegistyTest", "num_classes": 3})


def test_a_mistyped_argument_is_answered_with_the_close_ones():
    with pytest.raises(ConfigError, match=r"takes no argument 'num_clases'; did you mean 'num_classes'"):
        MODELS.build({"type": "PartOfTheRegistryTest", "num_clases": 3})


def test_a_config_without_type_is_refused():
    with pytest.raises(ConfigError, match="needs a type"):
        MODELS.build({"num_classes": 3})


def test_parts_that_mmengine_builds_are_checked_too():
    check_config({"type": "SGD", "lr": 0.1, "momentum": 0.9}, OPTIMIZERS)
    with pytest.raises(ConfigError, match=r"takes no argument 'momentun'; did you mean 'momentum'"):
        check_config({"type": "SGD", "lr": 0.1, "momentun": 0.9}, OPTIMIZERS)
    with pytest.raises(ConfigError, match="AdamW"):
        check_config({"type": "AdamWW", "lr": 0.1}, OPTIMIZERS)


def test_mmengine_finds_our_parts_under_our_scope():
    from mmengine.registry import MODELS as ROOT

    assert ROOT.get("densekit.PartOfTheRegistryTest") is PartOfTheRegistryTest


def test_close_names():
    assert close_names("livr", ["liver", "spleen"]) == "; did you mean 'liver'?"
    assert close_names("xyz", ["liver"]) == ""
    assert close_names("LIVER", ["liver"]) == "; did you mean 'liver'?"
