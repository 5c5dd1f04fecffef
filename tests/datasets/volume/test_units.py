"""A scan in another unit is told; one that only looks different is not."""

import numpy as np
import pytest

from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.datasets.volume.units import SUSPICIOUS, ChannelValues, cases_apart, describe, suspicions

SHAPE = (24, 40, 40)


def body(margin):
    d, h, w = np.indices(SHAPE)
    return (np.abs(h - 19.5) < 20 - margin) & (np.abs(w - 19.5) < 20 - margin), (d, h, w)


def ct(seed, margin=5):
    """Air, a body of fat and soft tissue, lungs, bone, and two organs; with its label map."""
    r = np.random.default_rng(seed)
    inside, (_, h, w) = body(margin)
    image = np.full(SHAPE, -1000.0)
    image[inside] = 20
    image[inside & (h < 12)] = -100
    image[inside & (h > 30) & (w < 16)] = -800
    image[inside & (h > 30) & (w > 28)] = 500
    label = np.zeros(SHAPE, np.uint8)
    label[8:16, 14:22, 10:18], label[8:16, 14:22, 20:28] = 1, 2
    image[label == 1], image[label == 2] = 110, 170
    return np.clip(np.rint(image + r.normal(0, 15, SHAPE)), -1024, 3071), label


def mr(seed, scale=1.0):
    r = np.random.default_rng(seed)
    inside, _ = body(6)
    image = np.abs(r.normal(0, 12, SHAPE))
    image[inside] = r.normal(400, 120, inside.sum()).clip(60)
    label = np.zeros(SHAPE, np.uint8)
    label[8:16, 14:22, 10:18] = 1
    image[label == 1] += 200
    return np.rint(image * scale), label


def window(hu):
    return (np.clip(hu, -160, 240) + 160) / 400


def preprocessing(make, normalization):
    pairs = [make(seed) for seed in range(5)]
    intensity = None
    if normalization == "ct":
        inside = np.concatenate([image[label > 0] for image, label in pairs])
        lower, upper = np.percentile(inside, (0.5, 99.5)).tolist()
        intensity = ({"lower": lower, "upper": upper, "mean": float(inside.mean()), "std": float(inside.std())},)
    seen = describe([ChannelValues.of(*pair) for pair in pairs], intensity and intensity[0])
    return Preprocessing(("scan",), None, normalization, intensity, (seen,))


@pytest.fixture(scope="module")
def of_ct():
    return preprocessing(ct, "ct")


@pytest.fixture(scope="module")
def of_mr():
    return preprocessing(mr, "zscore")


def padded(image, value, dtype=float):
    image = image.astype(dtype)
    _, (_, h, w) = body(0)
    image[(h - 19.5) ** 2 + (w - 19.5) ** 2 > 20**2] = value
    return image


OTHER_UNITS = {
    "window as 0..1": window,
    "window as 0..1, float32": lambda hu: window(hu).astype(np.float32),
    "window as 0..255": lambda hu: (window(hu) * 255).astype(np.uint8),
    "window as -1..1": lambda hu: window(hu) * 2 - 1,
    "wide window as 0..255": lambda hu: (np.clip(hu + 1024, 0, 4095) / 4095 * 255).astype(np.uint8),
    "HU + 1024": lambda hu: (hu + 1024).astype(np.uint16),
    "HU + 1024, padded": lambda hu: padded(hu + 1024, -2000),
    "HU + 1000": lambda hu: hu + 1000,
    "10 times HU": lambda hu: hu * 10,
    "HU / 1000": lambda hu: hu / 1000,
    "attenuation in 1/mm": lambda hu: 0.02 * (hu / 1000 + 1),
    "HU wrapped to uint16": lambda hu: hu.astype(np.int16).view(np.uint16),
    "PET in Bq/ml": lambda hu: np.clip(hu + 900, 0, None) ** 1.3,
    "PET in SUV": lambda hu: np.clip(hu + 900, 0, None) / 200,
    "inverted": lambda hu: -hu,
    "inverted and stored from 0": lambda hu: hu.max() - hu,
    "inverted window": lambda hu: 1 - window(hu),
    "MR": lambda hu: mr(1)[0],
}
SAME_UNIT = {
    "itself": lambda hu: hu,
    "padding -3024": lambda hu: padded(hu, -3024),
    "padding -2000": lambda hu: padded(hu, -2000),
    "padding -32768": lambda hu: padded(hu, -32768),
    "padding 0": lambda hu: padded(hu, 0),
    "padding 3071": lambda hu: padded(hu, 3071),
    "the body alone": lambda hu: hu[:, 8:30, 6:34],
    "the organs alone": lambda hu: hu[8:16, 14:22, 10:28],
    "the body, air set to 0": lambda hu: np.where(body(5)[0], hu, 0),
    "cut off at the window": lambda hu: np.clip(hu, -160, 240),
    "metal": lambda hu: np.where(np.indices(SHAPE).sum(0) % 97 == 0, 30000, hu),
    "strong contrast medium": lambda hu: np.where(hu > 150, hu + 250, hu),
    "much noise": lambda hu: hu + np.random.default_rng(9).normal(0, 60, SHAPE),
    "extended range": lambda hu: np.where(hu > 400, hu * 8, hu),
    "lungs only": lambda hu: np.where(hu > -50, hu, -850 + hu % 40),
}


@pytest.mark.parametrize("unit", OTHER_UNITS)
def test_a_ct_in_another_unit_is_suspicious(of_ct, unit):
    (note,) = suspicions(OTHER_UNITS[unit](ct(7)[0])[None], of_ct)
    assert note.startswith(SUSPICIOUS)


@pytest.mark.parametrize("looks", SAME_UNIT)
@pytest.mark.parametrize("margin", [1, 5, 12])
def test_a_ct_in_hu_is_not_suspicious_whatever_it_shows(of_ct, looks, margin):
    assert suspicions(SAME_UNIT[looks](ct(7, margin)[0])[None], of_ct) == []


@pytest.mark.parametrize(
    ("unit", "word"),
    [
        ("window as 0..1", "0..1"),
        ("window as 0..255", "0..255"),
        ("HU + 1024", "1024 added"),
        ("inverted", "inverted"),
        ("inverted and stored from 0", "inverted"),
        ("10 times HU", "divide it by 10"),
    ],
)
def test_the_note_names_the_likely_unit(of_ct, unit, word):
    (note,) = suspicions(OTHER_UNITS[unit](ct(7)[0])[None], of_ct)
    assert word in note


RANGES = {"organs": (90, 190), "fat": (-140, -60), "lungs": (-900, -700), "bone": (440, 560), "body": (-900, 560)}


def trained_on(inside):
    """A network for structures of one range of HU."""
    lower, upper = RANGES[inside]
    return preprocessing(lambda seed: (ct(seed)[0], (lower <= ct(seed)[0]) & (ct(seed)[0] <= upper)), "ct")


def no_air(image):
    return image[2:22, 6:20, 8:32]


@pytest.mark.parametrize("inside", RANGES)
@pytest.mark.parametrize(
    ("unit", "show", "word"),
    [
        ("HU + 1024", np.asarray, "1024 added"),
        ("HU + 1024", no_air, "1024 added"),
        ("10 times HU", np.asarray, "10 times"),
        ("10 times HU", no_air, "10 times"),
        ("inverted", np.asarray, "inverted"),
        ("inverted", no_air, "inverted"),
    ],
)
def test_a_change_of_unit_is_named_whatever_the_structures_and_without_air(inside, unit, show, word):
    (note,) = suspicions(OTHER_UNITS[unit](show(ct(7)[0]))[None], trained_on(inside))
    assert word in note


@pytest.mark.parametrize("inside", RANGES)
@pytest.mark.parametrize("show", [np.asarray, no_air, lambda hu: hu[:, 6:34, 6:20]])
def test_a_crop_in_hu_is_not_suspicious_whatever_the_structures(inside, show):
    assert suspicions(show(ct(7)[0])[None], trained_on(inside)) == []


def test_a_checkpoint_of_before_says_less(of_ct):
    older = [{key: value for key, value in of_ct.seen[0].items() if key not in ("edges", "typical")}]
    older = Preprocessing.from_dict({**of_ct.to_dict(), "seen": older})
    assert suspicions(OTHER_UNITS["HU + 1024"](ct(7)[0])[None], older)
    assert not suspicions(-no_air(ct(7)[0])[None], older) and suspicions(-no_air(ct(7)[0])[None], of_ct)


@pytest.mark.parametrize("scale", [1e-4, 1, 3, 1e4])
@pytest.mark.parametrize("offset", [0, 1000, -500])
def test_scale_and_offset_mean_nothing_where_each_scan_is_normalised_by_itself(of_mr, scale, offset):
    assert suspicions(mr(7)[0][None] * scale + offset, of_mr) == []


def test_an_inverted_mr_is_suspicious(of_mr):
    image = mr(7)[0]
    (note,) = suspicions((image.max() - image)[None], of_mr)
    assert "bright" in note


def test_nothing_is_said_of_mr_crops_that_show_no_background():
    crop = lambda seed: tuple(array[:, 8:30, 8:30] for array in mr(seed))  # noqa: E731
    image = crop(7)[0]
    assert suspicions((image.max() - image)[None], preprocessing(crop, "zscore")) == []


def test_nothing_is_said_of_a_channel_that_the_scan_lacks(of_ct):
    assert suspicions(np.zeros((1, *SHAPE)), of_ct, [False]) == []


def test_a_checkpoint_that_knows_the_range_alone_tells_what_is_scaled_to_1(of_ct):
    older = Preprocessing(("scan",), None, "ct", of_ct.intensity)
    assert suspicions(window(ct(7)[0])[None], older) and not suspicions(ct(7)[0][None], older)


def test_what_was_seen_comes_back_from_a_checkpoint(of_ct):
    assert Preprocessing.from_dict(of_ct.to_dict()) == of_ct


@pytest.mark.parametrize("unit", OTHER_UNITS)
def test_the_one_case_of_many_in_another_unit_is_found(unit):
    pairs = {f"case{seed}": ct(seed) for seed in range(8)}
    pairs["case3"] = OTHER_UNITS[unit](pairs["case3"][0]), pairs["case3"][1]
    cases = {name: [ChannelValues.of(*pair)] for name, pair in pairs.items()}
    assert [case for case, _ in cases_apart(cases, ["CT"], "ct")] == ["case3"]


@pytest.mark.parametrize("looks", [name for name in SAME_UNIT if "alone" not in name or "0" in name])
def test_no_case_in_the_unit_of_the_others_is_found(looks):
    pairs = {f"case{seed}": ct(seed) for seed in range(8)}
    pairs["case3"] = SAME_UNIT[looks](pairs["case3"][0]), pairs["case3"][1]
    cases = {name: [ChannelValues.of(*pair)] for name, pair in pairs.items()}
    assert list(cases_apart(cases, ["CT"], "ct")) == []


def test_a_data_set_in_one_unit_is_sound_whichever_it_is():
    for unit in OTHER_UNITS.values():
        cases = {f"case{seed}": [ChannelValues.of(unit(ct(seed)[0]), ct(seed)[1])] for seed in range(6)}
        assert list(cases_apart(cases, ["CT"], "ct")) == []
