"""The demo runs from raw files to the report, printing the commands it stands for."""

from densekit.cli import main


def test_the_demo_ends_with_a_report(tmp_path, capsys):
    assert main(["demo", "--work-dir", str(tmp_path), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    for words in ("1/6", "6/6", "$ densekit train configs/dformer-tiny_phantom.py", "liver", "mean Dice"):
        assert words in out
    assert (tmp_path / "best.pth").is_file()
    assert (tmp_path / "predictions" / "img0061.nii.gz").is_file()
    report = (tmp_path / "report.html").read_text()
    assert "img0061" in report
    assert "gallbladder" in report
