"""The table of a cohort: means by hand, what they leave out, and the files."""

import csv
import json

import numpy as np
import pytest

from densekit.errors import ConfigError, DataError, OutputError
from densekit.evaluation.volume import ScoreTable, score_case

LABELS = ("background", "liver", "spleen", "gallbladder")
SPACING = (2.0, 1.0, 1.0)
SHIFTED = 2 * 12 / (18 + 18)  # Dice of the liver of case a, moved by one voxel: 12 of 18 voxels shared
SPLEEN = 2 * 7 / (7 + 8)


@pytest.fixture
def make(cohort):
    """Return a maker of the cohort's table."""

    def table(*, convention="strict", scored=None, surface=True, failures=None):
        scores = []
        for case, (prediction, reference) in cohort.items():
            scores += score_case(
                prediction,
                reference,
                case_id=case,
                labels=LABELS,
                scored=scored,
                spacing=SPACING,
                convention=convention,
                surface=surface,
            )
        return ScoreTable(scores, failures=failures)

    return table


@pytest.mark.parametrize(
    ("convention", "spleen", "gallbladder"),
    [("strict", [SPLEEN, 0, 0], []), ("transunet", [SPLEEN, 0, 1], [0, 0, 0]), ("nnformer", [SPLEEN, 0, 0], [1, 1, 1])],
)
def test_dice_is_averaged_over_cases_then_over_structures(make, convention, spleen, gallbladder):
    table = make(convention=convention)
    means = [(SHIFTED + 1 + 1) / 3, sum(spleen) / 3] + ([sum(gallbladder) / 3] if gallbladder else [])
    assert table.structure("liver").dice.value == pytest.approx(means[0])
    assert table.structure("spleen").dice.value == pytest.approx(means[1])
    assert table.structure("gallbladder").dice.value == (means[2] if gallbladder else None)
    assert table.overall().dice.value == pytest.approx(sum(means) / len(means))


def test_only_scored_structures_enter_the_mean(make):
    table = make(scored=["liver"])
    assert table.overall().dice.value == table.structure("liver").dice.value
    assert table.structure("spleen").dice.value == pytest.approx(SPLEEN / 3)
    assert table.case("b").dice.value == 1.0


def test_a_missed_organ_is_counted_beside_the_mean_never_inside(make):
    spleen = make().structure("spleen")
    assert (spleen.missed, spleen.spurious, spleen.absent) == (1, 1, 0)
    assert spleen.dice.count == spleen.dice.total == 3  # Dice 0 counts
    assert (spleen.hd95_mm.count, spleen.hd95_mm.total) == (1, 3)
    assert str(spleen.hd95_mm) == "mean over 1 of 3, 1 missed, 1 spurious"
    assert spleen.hd95_mm.value == make().scores[1].hd95_mm
    overall = make().overall()
    assert overall.hd95_mm.left_out == {"missed": 1, "spurious": 1, "absent": 3}
    assert (overall.missed, overall.spurious, overall.absent) == (1, 1, 3)


def test_published_conventions_still_print_how_many_masks_were_empty(make):
    table = make(convention="transunet")
    assert table.structure("spleen").hd95_mm.count == 3
    text = table.render()
    assert "empty masks (transunet): missed Dice 0, HD95 0; spurious Dice 1, HD95 0" in text
    assert "missed: spleen in b" in text
    assert "spurious: spleen in c" in text


def test_failed_cases_are_listed_and_counted(make):
    table = make(failures={"d": "truncated gzip"})
    assert str(table.structure("liver").dice) == "mean over 3 of 4, 1 failed"
    text = table.render()
    assert "cases scored: 3, failed: 1" in text
    assert "failed: d: truncated gzip" in text


def test_a_cohort_in_which_every_case_failed():
    table = ScoreTable([], failures={"d": "no label"})
    assert table.overall().dice.value is None
    assert "cases scored: 0, failed: 1" in table.render()
    assert table.to_dict()["failures"] == {"d": "no label"}


def test_rendered_table_is_aligned_and_fits_a_terminal(make):
    lines = make(scored=["liver", "spleen"]).render().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("structure"))
    rows = [line for line in lines[start : lines.index("", start)] if line[:1] not in "-" and "not in" not in line]
    assert [row.split()[0] for row in rows] == ["structure", "liver", "spleen", "mean", "gallbladder"]
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) <= 100
    assert rows[1].split()[1] == f"{(SHIFTED + 2) / 3:.4f}"
    assert rows[2].split()[-3:] == ["1", "1", "0"]
    assert rows[4].split()[1:] == ["-*", "-*", "-*", "-*", "0", "0", "3"]
    assert "  spleen: HD95 vox, HD95 mm: mean over 1 of 3, 1 missed, 1 spurious" in lines


def test_table_without_surface_distances_says_so(make):
    table = make(surface=False)
    text = table.render()
    assert "surface distances were not computed" in text
    assert "mean over 3 of 3" not in text
    assert "HD95 vox, " not in text  # no note about means that nobody asked for
    liver = next(line for line in text.splitlines() if line.startswith("liver"))
    assert liver.split()[2:5] == ["-", "-", "-"]
    assert table.structure("spleen").hd95_mm.left_out == {"not computed": 3}


def test_csv_has_a_row_per_case_and_structure(make, tmp_path):
    table = make(failures={"d": "truncated gzip, line 2"})
    table.to_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 + 1
    spleen = next(row for row in rows if (row["case"], row["structure"]) == ("b", "spleen"))
    assert spleen["situation"] == "missed"
    assert (spleen["dice"], spleen["hd95_voxel"], spleen["hd95_mm"]) == ("0.0", "", "")
    assert (spleen["reference_voxels"], spleen["prediction_voxels"]) == ("8", "0")
    assert (spleen["spacing_mm"], spleen["convention"], spleen["tolerance_mm"]) == ("2 1 1", "strict", "1.0")
    assert float(rows[0]["dice"]) == table.scores[0].dice  # full precision
    assert (rows[-1]["case"], rows[-1]["situation"], rows[-1]["failure"]) == ("d", "failed", "truncated gzip, line 2")


def test_json_states_the_meaning_of_its_numbers(make, tmp_path):
    table = make(scored=["liver", "spleen"], failures={"d": "truncated gzip"})
    table.to_json(tmp_path / "scores.json")
    data = json.loads((tmp_path / "scores.json").read_text())
    semantics = data["semantics"]
    assert semantics["convention"] == "strict"
    assert semantics["empty_masks"]["missed"] == {"dice": 0, "hd95": None, "surface_dice": 0}
    assert semantics["surface_dice_tolerance_mm"] == 1.0
    assert "95th percentile" in semantics["hd95"]
    assert "pooled" in semantics["hd95"]
    assert "6-neighbour" in semantics["surface"]
    assert (data["cases_scored"], data["cases_failed"], data["failures"]) == (3, 1, {"d": "truncated gzip"})
    assert data["scored_structures"] == ["liver", "spleen"]
    assert data["mean"]["dice"]["value"] == pytest.approx(((SHIFTED + 2) / 3 + SPLEEN / 3) / 2)
    assert data["structures"]["spleen"]["hd95_mm"]["left_out"] == {"missed": 1, "spurious": 1, "failed": 1}
    assert data["structures"]["gallbladder"]["dice"]["value"] is None
    case = data["cases"]["b"]
    assert case["spacing_mm"] == [2.0, 1.0, 1.0]
    assert case["structures"]["spleen"]["hd95_voxel"] is None
    assert case["structures"]["spleen"]["situation"] == "missed"
    assert case["structures"]["liver"]["reference_ml"] == pytest.approx(18 * 2 / 1000)


def test_a_table_that_cannot_be_written_leaves_one_clear_error(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        make().to_csv(tmp_path / "file" / "scores.csv")


def test_scores_of_different_conventions_are_not_averaged(make):
    with pytest.raises(ConfigError, match="cannot be averaged"):
        ScoreTable(make().scores[:3] + make(convention="nnformer").scores[3:])
    with pytest.raises(ConfigError, match="scored"):
        ScoreTable(make().scores[:3] + make(scored=["liver"]).scores[3:])


def test_a_case_counts_once(make):
    scores = make().scores
    with pytest.raises(DataError, match="case a: liver is scored 2 times"):
        ScoreTable(scores + scores[:1])
    with pytest.raises(DataError, match="case a: both scored and failed"):
        ScoreTable(scores, failures={"a": "late failure"})


def test_the_mean_of_many_cases_does_not_drift():
    labels = np.zeros((1, 1, 20), np.uint8)
    scores = []
    for case in range(10):
        prediction, reference = labels.copy(), labels.copy()
        prediction[..., :18] = reference[..., 2:20] = 1  # Dice 16 / 18 in every case
        scores += score_case(prediction, reference, case_id=str(case), labels=LABELS[:2], spacing=(1, 1, 1))
    assert ScoreTable(scores).overall().dice.value == pytest.approx(16 / 18, rel=1e-15)


@pytest.mark.parametrize("tolerance, surface, told", [(1.9, True, True), (2.0, True, False), (1.9, False, False)])
def test_a_tolerance_finer_than_the_voxels_is_said_with_both_numbers(cohort, tolerance, surface, told):
    prediction, reference = cohort["a"]
    spacing = {"a": (2.0, 1.0, 1.0), "b": (1.0, 1.0, 1.0)}
    scores = [
        score
        for case in ("b", "a")
        for score in score_case(
            prediction, reference, case_id=case, labels=LABELS, spacing=spacing[case], surface=surface,
            tolerance_mm=tolerance,
        )
    ]  # fmt: skip
    table = ScoreTable(scores)
    words = "NSD's tolerance of 1.9 mm is below voxels' sides of up to 2 mm"
    assert (words in table.render()) == told
    assert table.to_dict()["notes"] == table.notes()
    assert len(table.notes()) == told
