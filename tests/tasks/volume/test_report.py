"""What a training on volumes warns of."""

from dataclasses import replace

import pytest

from densekit.tasks import load_config, make_plan
from densekit.tasks.volume.report import VolumeReport


@pytest.fixture
def cautions(config, prepared):
    """Warnings of a run on a data set whose two classes are (or are not) the two sides of one structure."""

    def found(*options, pairs=(("near", "far"),), name="blobs"):
        plan = make_plan(load_config(config(), options), prepared)
        plan.store = replace(plan.store, mirror_pairs=pairs, name=name)
        return VolumeReport(plan).cautions()

    return found


def test_a_mirror_that_keeps_the_labels_of_paired_classes_is_a_warning(cautions):
    (line,) = cautions("mirror_relabel=False")
    assert "left and right are not learned apart (near and far)" in line
    assert "set mirror_relabel=True" in line


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ([], {}),
        (["mirror_relabel=False"], {"pairs": ()}),
        (["mirror_relabel=False"], {"name": "synapse"}),
        (["mirror_relabel=False", 'mirror_axes=("superior-inferior",)'], {}),
        (["mirror_relabel=False", "mirror_axes=()"], {}),
        (["mirror_relabel=False", "train_pipeline=None"], {}),
    ],
    ids=["swapped", "no pairs", "the published data set", "other axes", "no axes", "no augmentation"],
)
def test_no_warning_where_no_side_is_taught_wrong(cautions, options, data):
    assert cautions(*options, **data) == []


def test_a_pipeline_written_out_is_looked_at_too(cautions):
    wrong = 'train_pipeline=[{"type":"AnatomicalMirror","axes":["left-right"],"relabel":False}]'
    assert len(cautions(wrong)) == 1
    assert len(cautions(wrong, name="synapse")) == 0


@pytest.mark.parametrize("axis", [2, None, [1, 2]])
def test_a_flip_of_monai_is_a_warning_like_our_own(cautions, axis):
    flip = {"type": "RandFlipd", "keys": ["inputs", "label"], "prob": 0.5, "spatial_axis": axis}
    wrong = f"train_pipeline={[{'type': 'ScaleIntensityd', 'keys': ['inputs']}, flip]}"
    (line,) = cautions(wrong)
    assert "RandFlipd puts what is left to the right" in line and "(near and far)" in line
    assert cautions(wrong, pairs=()) == cautions(wrong.replace(str(axis) + "}", "0}")) == []
