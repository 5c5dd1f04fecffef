"""Walks over config trees: what is found, what a copy shares, what JSON can hold."""

import json

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from densekit.config_tree import dotted, flat, plain, rebuilt, registered_name, types, walk, written
from densekit.errors import ConfigError
from densekit.registry import MODELS


@MODELS.register_module()
class PartOfTheTreeTest(nn.Module):
    pass


TREE = {"type": "A", "neck": None, "heads": [{"type": nn.Linear, "sizes": ((1, 2), [3])}, "type"]}


def test_a_walk_names_the_place_of_every_value():
    found = {dotted(place): value for place, value in walk(TREE, "model")}
    assert list(found) == [
        *("model.type", "model.neck", "model.heads", "model.heads.0", "model.heads.0.type", "model.heads.0.sizes"),
        *("model.heads.0.sizes.0", "model.heads.0.sizes.0.0", "model.heads.0.sizes.0.1", "model.heads.0.sizes.1"),
        *("model.heads.0.sizes.1.0", "model.heads.1"),
    ]
    assert found["model.heads.0.sizes.1"] == [3]
    assert list(walk("no tree")) == []


def test_types_are_values_of_that_key_and_not_words_of_a_list():
    assert types(TREE) == ["A", nn.Linear]


def test_a_copy_has_containers_of_its_own_and_of_ordinary_kinds():
    given = ConfigDict(TREE)
    copy = plain(given)
    assert copy == TREE and type(copy) is dict and type(copy["heads"][0]) is dict
    assert type(copy["heads"][0]["sizes"]) is tuple
    copy["heads"][0]["sizes"][1].append(4)
    assert given["heads"][0]["sizes"][1] == [3]


def test_a_change_sees_what_is_inside_already_changed():
    counted = rebuilt([1, [2, 3]], lambda value: sum(value) if isinstance(value, list) else 10 * value)
    assert counted == 60


def test_json_holds_lists_text_and_names():
    given = {"type": PartOfTheTreeTest, "w": (1, (2.5, None)), 3: True}
    assert written(given) == {"type": "PartOfTheTreeTest", "w": [1, [2.5, None]], "3": True}
    assert json.loads(json.dumps(written(given))) == written(given, registered_name)
    assert written({"type": nn.Linear}) == {"type": "Linear"}


def test_what_is_no_data_is_refused():
    with pytest.raises(ConfigError, match=r"plain values only, not Tensor"):
        written({"weights": torch.zeros(1)})
    with pytest.raises(ConfigError, match=r"Linear is not registered in MODELS"):
        written({"type": nn.Linear}, registered_name)


def test_flat_names_parts_and_keeps_lists_of_numbers_whole():
    tree = {"lr": 1, "steps": [1, 2], "parts": [{"a": {"b": []}}, 5], "empty": {}}
    assert flat(tree, "s") == {"s.lr": 1, "s.steps": [1, 2], "s.parts.0.a.b": [], "s.parts.1": 5}
    assert flat(3, "lr") == {"lr": 3}
