"""The demo runs from raw files to the report, printing the commands it stands for."""

from densekit.cli import main


def test_the_demo_ends_with_a_report(tmp_path, capsys):
    assert main(["demo", "--work-dir", str(tmp_path), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    for words in ("1/6", "6/6", "$ densekit train dformer-tiny_phantom", "liver", "mean Dice"):
        assert words in out
    assert (tmp_path / "best.pth").is_file()
    assert (tmp_path / "test_best_test" / "scores.csv").is_file()
    assert (tmp_path / "predictions" / "img0061.nii.gz").is_file()
    report = (tmp_path / "report.html").read_text()
    assert "img0061" in report
    assert "gallbladder" in report


def test_the_run_of_somebody_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "last.pth").write_text("weeks of training")
    assert main(["demo", "--work-dir", str(tmp_path)]) == 2
    assert "holds a run that is not the demo's" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]


def test_no_epochs_are_refused(tmp_path, capsys):
    assert main(["demo", "--work-dir", str(tmp_path / "demo"), "--epochs", "0"]) == 2
    assert "--epochs 0: expected a whole number from 1 on" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
