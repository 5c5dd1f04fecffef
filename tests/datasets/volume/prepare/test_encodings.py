"""Four encodings of the same organs, and the check that they are not confused."""

import numpy as np
import pytest

from densekit.datasets.volume.prepare.encodings import (
    BTCV_LABELS,
    ENCODINGS,
    SYNAPSE_ORGANS,
    LabelSummary,
    check_encoding,
    detect_encoding,
    remap_table,
)
from densekit.errors import ConfigError, DataError

# The value of each organ in each encoding, written down by hand.
VALUES = {
    "aorta": (8, 1, 7, 8),
    "gallbladder": (4, 2, 4, 4),
    "left kidney": (3, 3, 3, 3),
    "right kidney": (2, 4, 2, 2),
    "liver": (6, 5, 5, 6),
    "pancreas": (11, 6, 8, 5),
    "spleen": (1, 7, 1, 1),
    "stomach": (7, 8, 6, 7),
}
NAMES = ("raw", "transunet", "packed", "cascade")


def encoded(organs, encoding):
    """Paint the synthetic case with the values of one encoding; raw has an organ that the others do not."""
    column = NAMES.index(encoding)
    masks = organs()
    label = np.zeros(masks["liver"].shape, dtype=np.uint8)
    for organ, mask in masks.items():
        label[mask] = VALUES[organ][column]
    if encoding == "raw":
        label[0, 0, :3] = 5
    return label


def test_tables_are_those_of_the_specification():
    for organ, values in VALUES.items():
        for encoding, value in zip(NAMES, values, strict=True):
            assert ENCODINGS[encoding][value] == organ
    assert [BTCV_LABELS.index(name) for name in ("esophagus", "inferior vena cava")] == [5, 9]


@pytest.mark.parametrize("encoding", NAMES)
def test_every_encoding_gives_the_same_organ_volumes(organs, encoding):
    label = encoded(organs, encoding)
    table = remap_table(encoding, 8) or {value: value for value in range(9)}
    stored = np.vectorize(table.__getitem__)(label)
    expected = {organ: int(mask.sum()) for organ, mask in organs().items()}
    assert {organ: int((stored == i).sum()) for i, organ in enumerate(SYNAPSE_ORGANS, start=1)} == expected


@pytest.mark.parametrize("encoding", NAMES)
def test_the_encoding_is_recognised(organs, encoding):
    assert detect_encoding([LabelSummary.of(encoded(organs, encoding))])[0] == encoding


@pytest.mark.parametrize("given", NAMES)
@pytest.mark.parametrize("true", NAMES)
def test_a_wrong_option_is_refused_with_evidence_and_remedy(organs, given, true):
    summaries = [LabelSummary.of(encoded(organs, true))] * 2
    if given == true:
        assert "agrees with the labels" in check_encoding(given, summaries, "data")
        return
    with pytest.raises(DataError) as error:
        check_encoding(given, summaries, "data")
    message = str(error.value)
    assert message.startswith(f"data: encoding={given!r} does not fit the labels:")
    assert f"pass encoding={true!r}" in message and ("classes=8" in message) == (true != "raw")
    evidence = {"raw": "label 11 occurs", "cascade": "label 6 is the largest"}.get(true, "over 2 case(s) label 2 has")
    assert evidence in message


def test_one_small_kidney_among_many_does_not_turn_packed_into_transunet(organs):
    usual = LabelSummary.of(encoded(organs, "packed"))
    small = LabelSummary({**usual.counts, 2: usual.counts[3] // 5}, usual.centroids)
    assert detect_encoding([usual] * 5 + [small])[0] == "packed"


def test_labels_that_do_not_tell_are_taken_on_trust():
    note = check_encoding("packed", [LabelSummary.of(np.ones((2, 2, 2), np.uint8))], "data")
    assert "taken on trust" in note and "the labels found (1) lack 2, 3, 5 or 6" in note


def test_a_raw_label_settles_it_without_reading_the_other_cases(organs):
    def summaries():
        yield LabelSummary.of(encoded(organs, "raw"))
        pytest.fail("the second case was read")

    check_encoding("raw", summaries(), "data")


def test_impossible_options_say_what_is_possible():
    with pytest.raises(ConfigError, match="classes=13: files with encoding='packed' hold 8 organs; pass classes=8"):
        remap_table("packed", 13)
    with pytest.raises(ConfigError, match="encoding='btcv': expected one of raw, transunet, packed, cascade"):
        remap_table("btcv", 8)
    with pytest.raises(ConfigError, match="classes=9: expected 13"):
        remap_table("raw", 9)


def test_summary_counts_and_centroids():
    label = np.zeros((4, 6, 8), dtype=np.uint16)
    label[1:3, 2:5, 7] = 300
    summary = LabelSummary.of(label)
    assert summary.counts == {300: 6}
    np.testing.assert_allclose(summary.centroids[300], (1.5, 3, 7))
    assert LabelSummary.of(np.zeros((2, 2, 2), np.uint8)).counts == {}
