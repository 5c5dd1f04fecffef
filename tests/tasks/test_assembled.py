"""densekit models --assemble: what is printed of parts that fit, and the line for those that do not."""

import pytest

from densekit.cli import main


@pytest.mark.parametrize(
    ("parts", "size", "printed"),
    [
        (["mit_b0", "SegformerHead"], ["512"], ["3.75 M parameters", "8.39 G multiply-accumulates at 512x512"]),
        (["resnet18", "FPN", "RetinaHead"], ["64", "96"], ["as RetinaNet", "at 64x96, 4 classes"]),
        (["dformer_tiny", "PatchExpandingHead"], ["16", "32", "32"], ["as VolumeSegmentor", "at 16x32x32"]),
    ],
)
def test_parts(parts, size, printed, capsys):
    classes = "150" if parts[0] == "mit_b0" else "4"  # what is published
    assert main(["models", "--assemble", *parts, "--size", *size, "--classes", classes]) == 0
    out = capsys.readouterr().out
    exec(out[out.index("\nmodel = dict(") :], {})  # it is Python
    assert all(text in out for text in printed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--assemble", "resnet18"], "give a backbone and a head"),
        (["--assemble", "resnet18", "fcn", "--size", "0"], "--size 0: give 2 sides above 0"),
        (["--assemble", "resnet18", "fcn", "--size", "1", "2", "3"], "--size 1 2 3: give 2 sides"),
        (["--assemble", "resnet18", "dpt"], "ResNet -> SingleStrideDPTHead: ResNet gives 4 maps of strides"),
        (["resnet18", "--assemble", "resnet18", "fcn"], "one question at a time"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments, message, capsys):
    assert main(["models", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
