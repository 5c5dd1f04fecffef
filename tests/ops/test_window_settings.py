"""Settings of the sliding window: defaults, plain dicts there and back, anatomical names, and what is refused."""

import json
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest

from densekit.errors import ConfigError
from densekit.ops.window_settings import WindowSettings

WINDOW = (8, 8, 8)
LABELS = ["background", "liver", "left kidney", "right kidney"]
PAIRS = [("left kidney", "right kidney")]


def test_frozen_and_hashable_whatever_it_was_made_from():
    settings = WindowSettings([8, 8, 8], overlap=[0.5, 0.5, 0.0], mirror_axes=[2], mirror_swaps=[[2, 3]])
    assert settings == WindowSettings(WINDOW, (0.5, 0.5, 0.0), mirror_axes=(2,), mirror_swaps=((2, 3),))
    assert len({settings, WindowSettings(WINDOW)}) == 2
    with pytest.raises(FrozenInstanceError):
        settings.overlap = 0.25


@pytest.mark.parametrize(
    "given",
    [{}, {"overlap": (0.5, 0.25, 0.0), "batch": 4, "weights": "uniform"}, {"mirror_axes": (0, 2), "mirror_swaps": ()}],
)
def test_a_plain_dict_there_and_back_by_json(given):
    settings = WindowSettings(WINDOW, **given)
    assert WindowSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_what_is_averaged_follows_from_the_mirror_images_unless_said():
    assert not WindowSettings(WINDOW).softmax
    assert WindowSettings(WINDOW, mirror_axes=(0,)).softmax
    assert not WindowSettings(WINDOW, mirror_axes=(0,), activation="logits").softmax
    assert WindowSettings(WINDOW, activation="softmax").softmax


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overlap": 1.0}, r"overlap=1\.0: expected a fraction"),
        ({"overlap": -0.1}, r"overlap=-0\.1"),
        ({"overlap": (0.5, 0.5)}, r"overlap=\(0\.5, 0\.5\)"),
        ({"overlap": "half"}, "overlap='half'"),
        ({"weights": "gausian"}, "did you mean 'gaussian'"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 1.5}, r"batch=1\.5"),
        ({"mirror_axes": (3,)}, "mirror_axes"),
        ({"mirror_axes": 2}, "mirror_axes=2: expected axes among 0"),
        ({"mirror_swaps": [(1, 2), (2, 0)]}, "at most once"),
        ({"mirror_swaps": [(1, 2, 3)]}, "pairs of channels"),
        ({"activation": "sigmoid"}, "activation='sigmoid'"),
        ({"activation": "sofmax"}, "did you mean 'softmax'"),
        ({"window": (4, 0, 4)}, "three voxel counts"),
        ({"window": None}, "window=None: expected three voxel counts"),
        ({"window": (4, 4)}, "three voxel counts"),
        ({"overlp": 0.5}, "unknown setting 'overlp'; did you mean 'overlap'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values, message):
    with pytest.raises(ConfigError, match=message) as error:
        WindowSettings.from_dict({"window": WINDOW, **values})
    assert "\n" not in str(error.value)


def test_a_missing_window_is_said():
    with pytest.raises(ConfigError, match="'window'"):
        WindowSettings.from_dict({"overlap": 0.5})


def test_a_config_names_axes_as_anatomy_does():
    values = {"window": WINDOW, "mirror_axes": ["left-right", "superior-inferior"]}
    settings = WindowSettings.from_config(values, labels=LABELS, mirror_pairs=PAIRS)
    assert (settings.mirror_axes, settings.mirror_swaps) == ((2, 0), ((2, 3),))
    upright = WindowSettings.from_config({**values, "mirror_axes": ["superior-inferior"]}, labels=LABELS)
    assert (upright.mirror_axes, upright.mirror_swaps) == ((0,), None)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["left-rihgt"], "unknown axis 'left-rihgt'.*did you mean 'left-right'"),
        ("left-right", "expected a list of axes"),
        ([2], "unknown axis 2"),
        (["left-right"], "would mislabel 'left kidney', 'right kidney'"),
    ],
)
def test_a_config_with_axes_that_cannot_be_mirrored(axes, message):
    with pytest.raises(ConfigError, match=message):
        WindowSettings.from_config({"window": WINDOW, "mirror_axes": axes}, labels=LABELS)


def test_left_and_right_are_not_mixed_up():
    with pytest.raises(ConfigError, match=r"mirror_swaps=\[\(2, 3\)\]"):
        WindowSettings(WINDOW, mirror_axes=(0, 2)).check_labels(LABELS)
    WindowSettings(WINDOW, mirror_axes=(0, 2), mirror_swaps=[[2, 3]]).check_labels(LABELS)
    WindowSettings(WINDOW, mirror_axes=(0, 2), mirror_swaps=()).check_labels(LABELS)  # said: none trades places
    WindowSettings(WINDOW, mirror_axes=(0, 1)).check_labels(LABELS)
    WindowSettings(WINDOW, mirror_axes=(2,)).check_labels(LABELS[:2])


def test_a_network_of_one_size_takes_no_other_window():
    with pytest.raises(ConfigError, match=r"window=\(8, 8, 8\), but the backbone takes exactly \(4, 8, 8\)"):
        WindowSettings(WINDOW).check_fixed_size(SimpleNamespace(fixed_size=(4, 8, 8)))
    for network in (SimpleNamespace(fixed_size=WINDOW), SimpleNamespace(fixed_size=None), SimpleNamespace()):
        WindowSettings(WINDOW).check_fixed_size(network)
