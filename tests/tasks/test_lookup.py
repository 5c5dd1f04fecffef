"""Every name that a config may use can be looked up, whichever package it comes from."""

import re
import subprocess
import sys

import pytest

from densekit.errors import ConfigError
from densekit.tasks.lookup import print_name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "RetinaHead",
            ["part of MMDetection, mmdet.models.dense_heads", "stacked_convs = 4", "retinanet-fpn-r50_coco"],
        ),
        ("mmdet.RetinaHead", ["part of MMDetection"]),
        ("CSPNeXt", ["part of MMDetection", "arch = 'P5'", "gives 256 channels at stride 8"]),
        ("FPN", ["part of MMDetection", "num_outs", "takes all levels before it"]),
        ("SEPC", ["part of densekit"]),
        ("PSPHead", ["part of MMSegmentation", "pool_scales"]),
        ("MaxIoUAssigner", ["assigner, sampler or coder of MMDetection", "pos_iou_thr"]),
        ("dformer", ["named size", "DFormer(widths=(96, 192, 384, 768)", "takes volumes"]),
        ("resnet50", ["named size", "mmdet.ResNet(depth=50)", "gives 256 channels at stride 4"]),
        ("convnext_tiny_hnf", ["network of timm", "gives 96 channels at stride 4"]),
        ("SwinUNETR", ["network of MONAI", "feature_size"]),
        ("RandGaussianNoised", ["transform of MONAI", "prob"]),
        ("AdamW", ["optimizer", "weight_decay"]),
        ("CosineAnnealingLR", ["schedule", "T_max"]),
        ("RandomFlip", ["transform of MMDetection", "prob"]),
    ],
)
def test_a_name_is_told_with_its_source_and_its_arguments(capsys, name, words):
    assert print_name(name) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in words), told


def test_a_pattern_lists_the_names_that_fit(capsys):
    assert print_name("convnext_t*") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "convnext_tiny" in {line.split()[0] for line in lines}
    assert all(re.match(r"convnext_t\S* +(network of timm|named size of densekit)$", line) for line in lines)
    with pytest.raises(ConfigError, match="no name fits"):
        print_name("nothing_of_that_sort*")


@pytest.mark.parametrize(("name", "close"), [("RetinaHed", "RetinaHead"), ("convnext_tinny", "convnext_tiny")])
def test_an_unknown_name_is_answered_with_close_ones(name, close):
    with pytest.raises(ConfigError, match=f"there is no part '{name}'.*{close}"):
        print_name(name)


def test_a_name_of_another_package_is_not_taken_for_it():
    with pytest.raises(ConfigError, match=r"there is no part 'mmseg\.RetinaHead'"):
        print_name("mmseg.RetinaHead")


@pytest.mark.parametrize(
    ("name", "not_loaded"),
    [
        ("dformer", {"mmdet", "mmseg", "timm", "monai", "torchvision"}),
        ("DFormer", {"mmdet", "mmseg", "timm", "monai", "torchvision"}),
        ("RetinaHead", {"mmseg", "timm", "monai"}),
    ],
)
def test_a_name_that_is_found_loads_no_further_library(name, not_loaded):
    code = f"import sys; from densekit.tasks.lookup import print_name; print_name({name!r}); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert name in result.stdout.splitlines()[0]
    assert not not_loaded & set(result.stdout.splitlines()[-1].split())
