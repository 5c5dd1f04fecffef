"""Many scans: a bad one costs only itself, a stopped run is continued, results are never half-written or mixed up."""

import csv
import errno
import json
import logging
import os
import re

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from densekit.errors import CheckpointError, ConfigError, DataError, OutputError
from densekit.inference.volume import batch as batch_module
from densekit.inference.volume import export
from densekit.tasks import predict

from ..conftest import ledger, odd_things, statuses

torch.set_num_threads(1)


@pytest.fixture
def scans(scan, tmp_path):
    """Three scans a, b, c in one folder."""
    for name in "abc":
        scan(f"scans/{name}.nii.gz", axes={"a": "RAS", "b": "LPI", "c": "SAL"}[name])
    return tmp_path / "scans"


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Draw real montages only where a test looks at them: they take most of the time."""
    if request.node.originalname != "test_a_run_writes_labels_names_volumes_pictures_report_and_ledger":
        pixel = Image.new("RGB", (8, 8))
        monkeypatch.setattr(batch_module, "write_montage", lambda path, *_, **__: pixel.save(path))


def hidden(out):
    return [p.name for p in out.iterdir() if p.name.startswith(".")]


def test_a_run_knows_the_volumes_of_each_scan(checkpoint, scans, tmp_path):
    (scans / "b.nii.gz").write_bytes(b"nothing")
    result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    measured = {s["name"]: s["volume_ml"] for s in ledger(tmp_path / "out")["cases"]["a"]["structures"]}
    assert measured["liver"] > 0
    assert result.volumes_ml["a"] == measured and result.volumes_ml["b"] == {}


def test_a_run_writes_labels_names_volumes_pictures_report_and_ledger(checkpoint, scans, tmp_path):
    out = tmp_path / "out"
    result = predict(checkpoint(), [scans], out, device="cpu")
    assert result.exit_status == 0
    assert {p.name for p in out.iterdir()} == {
        *(f"{case}{end}" for case in "abc" for end in (".nii.gz", ".labels.json", ".png")),
        "volumes.csv",
        "report.html",
        "predictions.json",
    }
    for case in "abc":
        source, written = nib.load(scans / f"{case}.nii.gz"), nib.load(out / f"{case}.nii.gz")
        assert np.array_equal(source.affine, written.affine)
        assert np.array_equal(np.rint(source.get_fdata() / 100), np.asarray(written.dataobj))
    assert json.loads((out / "a.labels.json").read_text())["2"] == "left kidney"
    rows = list(csv.DictReader((out / "volumes.csv").open()))
    expected = (np.asarray(nib.load(out / "a.nii.gz").dataobj) == 1).sum() * 8e-3
    assert [r["structure"] for r in rows[:3]] == ["liver", "left kidney", "right kidney"]
    assert float(rows[0]["volume_ml"]) == pytest.approx(expected)
    facts = ledger(out)
    assert facts["status"] == "finished"
    case = facts["cases"]["a"]
    assert case["output_sha256"] == batch_module.sha256(out / "a.nii.gz")
    assert case["inputs_sha256"] == [batch_module.sha256(scans / "a.nii.gz")]
    assert {"read", "prepare", "predict", "measure", "write", "total"} <= set(case["seconds"])
    assert {"weights_sha256", "settings", "densekit"} <= set(case)
    report = (out / "report.html").read_text()
    assert "left kidney" in report and "data:image" in report


def test_one_bad_scan_of_three_costs_that_scan(checkpoint, scans, tmp_path, caplog):
    (scans / "b.nii.gz").write_bytes((scans / "b.nii.gz").read_bytes()[:600])
    with caplog.at_level(logging.INFO, "densekit"):
        result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    assert "truncated" in result.rows[1].reason
    table = caplog.messages[-1]
    assert "2 predicted, 1 failed" in table and "b  " in table and "truncated" in table
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    assert ledger(tmp_path / "out")["cases"]["b"]["status"] == "failed"
    rows = list(csv.DictReader((tmp_path / "out" / "volumes.csv").open()))
    assert next(r for r in rows if r["case"] == "b")["reason"]
    assert "truncated" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("how", ["folder", "glob", "one by one"])
def test_what_only_has_the_name_of_a_scan_is_listed_as_failed(checkpoint, scans, tmp_path, how):
    said = odd_things(scans, ".nii.gz")
    given = {"folder": [scans], "glob": [scans / "*.nii.gz"]}.get(how, sorted(scans.iterdir()))
    if how == "one by one":  # a folder that is given stands for what is in it
        given.remove(scans / "folder.nii.gz")
        del said["folder"]
    result = predict(checkpoint(), given, tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert {row.case.id for row in result.rows if row.status == "ok"} == set("abc")
    reasons = {row.case.id: row.reason for row in result.rows if row.status == "failed"}
    assert reasons.keys() == said.keys()
    assert all(words in reasons[name] for name, words in said.items()), reasons


def test_links_and_what_they_lead_to_have_a_result_each(checkpoint, scans, tmp_path):
    (scans / "link.nii.gz").symlink_to("a.nii.gz")
    (scans / "hard.nii.gz").hardlink_to(scans / "a.nii.gz")
    (tmp_path / "other").symlink_to(scans)
    result = predict(checkpoint(), [scans, tmp_path / "other", scans / "a.nii.gz"], tmp_path / "out", device="cpu")
    assert statuses(result) == dict.fromkeys(("a", "b", "c", "hard", "link"), "ok")
    voxels = [np.asarray(nib.load(tmp_path / "out" / f"{name}.nii.gz").dataobj) for name in ("a", "link", "hard")]
    assert np.array_equal(voxels[0], voxels[1]) and np.array_equal(voxels[0], voxels[2])


def test_an_input_that_has_gone_leaves_its_older_result(checkpoint, scans, tmp_path):
    (scans / "link.nii.gz").symlink_to(scans / "a.nii.gz")
    predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    (scans / "a.nii.gz").unlink()
    os.mkfifo(scans / "a.nii.gz")
    result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    assert statuses(result) == {"a": "failed", "b": "kept", "c": "kept", "link": "failed"}
    assert "is a FIFO" in result.rows[0].reason and "is an older result" in result.rows[0].reason
    assert (tmp_path / "out" / "a.nii.gz").exists()


def test_an_output_folder_among_the_scans_is_none_of_them(checkpoint, scans):
    for _ in range(2):
        result = predict(checkpoint(), [scans], scans / "out.nii", device="cpu")
        assert set(statuses(result)) == set("abc") and result.exit_status == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_scans_that_may_not_be_read(checkpoint, scans, tmp_path):
    (scans / "b.nii.gz").chmod(0)
    result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    assert statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    scans.chmod(0)
    with pytest.raises(DataError, match="cannot be listed"):
        predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    scans.chmod(0o700)


def test_notes_that_change_the_meaning_reach_the_terminal(checkpoint, scans, tmp_path, caplog):
    for name in "abcdefg":
        header_only = nib.Nifti1Image(np.arange(4096, dtype=np.int16).reshape(16, 16, 16), None)
        nib.save(header_only, scans / f"{name}.nii.gz")
    for status in ("ok", "kept"):
        caplog.clear()
        with caplog.at_level(logging.INFO, "densekit"):
            result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
        assert set(statuses(result).values()) == {status}
        assert list(result.notes) == list("abcdefg")
        told = caplog.messages[-1].splitlines()[1:]
        assert [line.split(":")[0].strip() for line in told[:5]] == list("abcde")
        assert all("caution: neither qform nor sform is set: assumed axes" in line for line in told[:5])
        assert told[5] == "  and 2 more like this: see the report"


def test_all_bad_is_also_status_3(checkpoint, tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"nothing")
    result = predict(checkpoint(), [tmp_path / "bad.nii.gz"], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("mat1 and mat2 shapes\ncannot be multiplied"), "RuntimeError: mat1 and mat2 shapes cannot"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "does not hold one window"),
        (MemoryError(), "memory does not hold the scan"),
        (OSError(errno.EIO, "Input/output error"), "OSError"),
        (ValueError("unforeseen"), "ValueError: unforeseen"),
    ],
    ids=["runtime", "device memory", "host memory", "os", "unforeseen"],
)
def test_errors_of_the_network_cost_one_case(checkpoint, network, scans, tmp_path, error, reason):
    calls = []

    def fail_in_the_first_case(x):
        calls.append(x)
        if len(calls) == 1:
            raise error

    name = network("FailsOnce", fail_in_the_first_case)
    result = predict(checkpoint(model=name, batch=1), [scans], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert statuses(result) == {"a": "failed", "b": "ok", "c": "ok"}
    assert reason in result.rows[0].reason and "\n" not in result.rows[0].reason


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_does_the_rest(checkpoint, network, scans, tmp_path):
    calls = []

    def interrupt(x):
        calls.append(x)
        if len(calls) == interrupt.at:
            raise KeyboardInterrupt

    interrupt.at = 10**9
    path = checkpoint(model=network("Interrupted", interrupt))
    out = tmp_path / "out"
    predict(path, [scans / "a.nii.gz"], tmp_path / "count", device="cpu")
    interrupt.at, per_case = 2, len(calls)
    calls.clear()
    interrupt.at = per_case + 2  # in the middle of the second case
    result = predict(path, [scans], out, device="cpu")
    assert result.exit_status == 130
    assert statuses(result) == {"a": "ok", "b": "not run", "c": "not run"}
    assert [case.case_id for case in result.cases] == ["a"]
    assert ledger(out)["status"] == "interrupted"
    assert list(ledger(out)["cases"]) == ["a"]
    assert not (out / "b.nii.gz").exists() and not hidden(out)
    assert nib.load(out / "a.nii.gz").shape == nib.load(scans / "a.nii.gz").shape

    interrupt.at = 10**9
    calls.clear()
    result = predict(path, [scans], out, device="cpu")
    assert result.exit_status == 0
    assert statuses(result) == {"a": "kept", "b": "ok", "c": "ok"}
    assert len(calls) == 2 * per_case
    assert {r["case"] for r in csv.DictReader((out / "volumes.csv").open())} == {"a", "b", "c"}


def test_a_second_run_keeps_everything_and_changes_no_byte(checkpoint, scans, tmp_path):
    out = tmp_path / "out"
    predict(checkpoint(), [scans], out, device="cpu")
    before = {p.name: p.read_bytes() for p in out.glob("*.nii.gz")}
    result = predict(checkpoint(), [scans], out, device="cpu", batch=1)  # the batch changes no result
    assert set(statuses(result).values()) == {"kept"}
    assert {p.name: p.read_bytes() for p in out.glob("*.nii.gz")} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda scans, out: ((scans / "a.nii.gz").write_bytes((scans / "b.nii.gz").read_bytes()), {})[1],
            "another scan",
        ),
        (lambda scans, out: ((out / "a.nii.gz").write_bytes(b"edited by hand"), {})[1], "changed since"),
        (lambda scans, out: {"overlap": 0.25}, "other settings"),
        (lambda scans, out: ((out / "predictions.json").unlink(), {})[1], "not made by densekit"),
    ],
    ids=["input", "output", "settings", "no ledger"],
)
def test_results_of_something_else_are_refused_or_overwritten(checkpoint, scans, tmp_path, change, message):
    out, path = tmp_path / "out", checkpoint()
    predict(path, [scans], out, device="cpu")
    options = change(scans, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(OutputError, match=message) as error:
        predict(path, [scans], out, device="cpu", **options)
    assert "overwrite" in str(error.value)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    result = predict(path, [scans], out, device="cpu", overwrite=True, **options)
    assert result.exit_status == 0 and statuses(result)["a"] == "ok"


def test_a_scan_that_cannot_be_drawn_keeps_its_labels_with_a_note(checkpoint, scans, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("too thin to show")

    monkeypatch.setattr(batch_module, "write_montage", refuse)
    result = predict(checkpoint(), [scans / "a.nii.gz"], tmp_path / "out", device="cpu")
    assert result.exit_status == 0
    assert "no picture: too thin to show" in result.rows[0].facts["notes"]


def test_other_weights_are_refused(checkpoint, scans, tmp_path):
    predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    other = checkpoint("other.pth", spacing=(1.0, 1.0, 1.0))
    with pytest.raises(OutputError, match="other weights"):
        predict(other, [scans], tmp_path / "out", device="cpu")


def test_a_missing_result_is_made_again(checkpoint, scans, tmp_path):
    out = tmp_path / "out"
    predict(checkpoint(), [scans], out, device="cpu")
    (out / "b.nii.gz").unlink()
    assert statuses(predict(checkpoint(), [scans], out, device="cpu")) == {"a": "kept", "b": "ok", "c": "kept"}


def test_an_input_is_never_replaced(checkpoint, scans):
    before = (scans / "a.nii.gz").read_bytes()
    with pytest.raises(OutputError, match="would replace this input"):
        predict(checkpoint(), [scans], scans, device="cpu", overwrite=True)
    assert (scans / "a.nii.gz").read_bytes() == before


def test_files_of_others_in_the_folder_are_not_replaced(checkpoint, scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "volumes.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"volumes\.csv"):
        predict(checkpoint(), [scans], tmp_path / "out", device="cpu")


def test_disk_full_ends_the_run_with_one_line_and_leaves_no_debris(checkpoint, scans, tmp_path, monkeypatch):
    out, honest, calls = tmp_path / "out", export.write_label, []

    def full(path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            error = OSError(errno.ENOSPC, "No space left on device")
            raise OutputError(f"{path}: cannot be written (No space left on device); free some space") from error
        honest(path, *arguments, **options)

    monkeypatch.setattr(export, "write_label", full)
    with pytest.raises(OutputError, match="No space left"):
        predict(checkpoint(), [scans], out, device="cpu")
    assert len(calls) == 2  # the third case is not even tried
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["a.nii.gz"]
    assert not hidden(out)
    assert ledger(out)["status"].startswith("stopped")


def test_a_broken_geometry_contract_costs_one_case(checkpoint, scans, tmp_path, monkeypatch):
    honest = export.write_label

    def shifted(path, labels, geometry, **options):
        honest(path, np.roll(labels, 1, axis=0) if path.name == "b.nii.gz" else labels, geometry, **options)

    monkeypatch.setattr(export, "write_label", shifted)
    result = predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    assert statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    assert "not the prediction on the scan's grid" in result.rows[1].reason
    assert not (tmp_path / "out" / "b.nii.gz").exists()


def test_output_that_cannot_be_written_is_found_before_any_work(checkpoint, network, scans, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    path = checkpoint(model=network("Untouched", lambda x: pytest.fail("predicted")))
    with pytest.raises(OutputError, match="out"):
        predict(path, [scans], tmp_path / "out", device="cpu")


def test_nothing_to_predict_wrong_checkpoint_and_wrong_device(checkpoint, scans, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no volume"):
        predict(checkpoint(), [tmp_path / "empty"], tmp_path / "out", device="cpu")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"photo\.jpg: an image, but .* segments volumes"):
        predict(checkpoint(), [tmp_path / "photo.jpg"], tmp_path / "out", device="cpu")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        predict(tmp_path / "none.pth", [scans], tmp_path / "out", device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA"):
        predict(checkpoint(), [scans], tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


def test_channels_of_one_case_and_a_case_that_lacks_one(checkpoint, scan, tmp_path):
    for name in ("p_0000", "p_0001", "q_0000"):
        scan(f"scans/{name}.nii.gz")
    result = predict(checkpoint(channels=("CT", "PET")), [tmp_path / "scans"], tmp_path / "out", device="cpu")
    assert statuses(result) == {"p": "ok", "q": "failed"}
    assert "_0001 (PET)" in result.rows[1].reason


def test_other_formats_come_back_in_their_format(checkpoint, scan, tmp_path):
    import SimpleITK as sitk

    source, expected = scan("source.nii.gz", axes="LAI", rotate=0.3)
    (tmp_path / "scans").mkdir()
    image = sitk.ReadImage(str(source))
    for name in ("a.nrrd", "b.mha", "c.mhd"):
        sitk.WriteImage(image, str(tmp_path / "scans" / name))
    result = predict(checkpoint(), [tmp_path / "scans"], tmp_path / "out", device="cpu")
    assert result.exit_status == 0, result.render()
    for name in ("a.nrrd", "b.mha", "c.mha"):
        written = sitk.ReadImage(str(tmp_path / "out" / name))
        assert np.array_equal(sitk.GetArrayFromImage(written).T, expected)
        assert np.allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-4)
        assert np.allclose(written.GetDirection(), image.GetDirection(), atol=1e-6)


def test_progress_names_the_case_and_the_time_left(checkpoint, scans, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "densekit"):
        predict(checkpoint(), [scans], tmp_path / "out", device="cpu")
    lines = [m for m in caplog.messages if m.startswith("[")]
    assert [line.split(":")[0] for line in lines] == ["[1/3] a", "[2/3] b", "[3/3] c"]
    assert "2 to go, about" in lines[0] and "to go" not in lines[2]


@pytest.fixture
def knows_air(checkpoint):
    """A checkpoint whose training scans all had air, and structures between 0 and 350."""
    path = checkpoint()
    content = torch.load(path, weights_only=True)
    prep = content["densekit"]["preprocessing"]
    prep["intensity"] = [{"lower": 0.0, "upper": 350.0, "mean": 0.0, "std": 1.0}]
    prep["seen"] = [{"lower": 0.0, "upper": 350.0, "minimum": -1000.0, "air": 0.3, "above": 0.01}]
    torch.save(content, path)
    return path


def test_what_lies_below_a_folder_is_told_first_and_last_also_where_all_was_done_before(
    checkpoint, scan, tmp_path, caplog
):
    caplog.set_level("INFO", logger="densekit")
    path, _ = scan("scans/a.nii.gz")
    below = tmp_path / "scans" / "more" / "b.nii.gz"
    below.parent.mkdir()
    below.write_bytes(path.read_bytes())
    trained, told = checkpoint(), []
    for _ in range(2):
        caplog.clear()
        assert statuses(predict(trained, [tmp_path / "scans"], tmp_path / "out", device="cpu")).keys() == {"a"}
        told.append(["1 more in its subfolders (more/) is not taken" in message for message in caplog.messages])
    first, again = told
    assert first[0] and first[-1] and sum(first) == 2
    assert again == [False, True]


def test_the_picture_of_a_scan_in_another_unit_says_so(knows_air, scan, tmp_path, monkeypatch):
    path, _ = scan("scans/good.nii.gz")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata().clip(0, 350) / 350, image.affine), tmp_path / "scans" / "bad.nii.gz")
    said = {}
    monkeypatch.setattr(batch_module, "write_montage", lambda *_, title, remark, **__: said.update({title: remark}))
    predict(knows_air, [tmp_path / "scans"], tmp_path / "out", device="cpu")
    assert said["good"] == "" and said["bad"].startswith("suspicious: CT is not in the unit")


def test_a_scan_in_another_unit_is_told_before_it_is_predicted_and_fails_with_strict(knows_air, scan, tmp_path, caplog):
    path, _ = scan("scans/good.nii.gz")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata().clip(0, 350) / 350, image.affine), tmp_path / "scans" / "bad.nii.gz")
    out = tmp_path / "out"
    result = predict(knows_air, [tmp_path / "scans"], out, device="cpu")
    assert statuses(result) == {"bad": "ok", "good": "ok"}
    told = next(place for place, m in enumerate(caplog.messages) if "suspicious: CT is not in the unit" in m)
    warned = [r for r in caplog.records if r.levelname == "WARNING" and "suspicious" in r.getMessage()]
    assert len(warned) == 1
    assert not any("bad: done" in m for m in caplog.messages[:told])
    noted = {case: facts["notes"] for case, facts in ledger(out)["cases"].items()}
    assert any(note.startswith("suspicious: ") for note in noted["bad"])
    assert not any(note.startswith("suspicious: ") for note in noted["good"])
    assert "suspicious" in (out / "report.html").read_text(encoding="utf-8")

    result = predict(knows_air, [tmp_path / "scans"], out, device="cpu", strict=True)
    assert statuses(result) == {"bad": "failed", "good": "kept"} and result.exit_status == 3
    assert "0..1" in result.rows[0].reason


def test_a_scan_that_says_nothing_of_its_spacing_gets_no_volumes(checkpoint, tmp_path):
    (tmp_path / "scans").mkdir()
    values = (np.arange(14 * 15 * 16).reshape(14, 15, 16) % 300).astype("<i2")
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 16 15 14\nendian: little\nencoding: raw\n\n"
    (tmp_path / "scans" / "a.nrrd").write_bytes(head.encode() + values.tobytes())
    result = predict(checkpoint(), [tmp_path / "scans"], tmp_path / "out", device="cpu")
    assert result.volumes_ml == {"a": {}}
    rows = list(csv.DictReader((tmp_path / "out" / "volumes.csv").open()))
    assert {row["volume_ml"] for row in rows} == {""} and all(int(row["voxels"]) >= 0 for row in rows)
    assert any("nothing of the spacing" in note for note in ledger(tmp_path / "out")["cases"]["a"]["notes"])


def test_a_log_says_how_far_a_long_scan_is(checkpoint, scans, tmp_path, caplog, monkeypatch):
    for name in ("FIRST", "SHORTEST", "SHARE"):  # every small part of the work is told
        monkeypatch.setattr(f"densekit.progress.{name}", 0)
    with caplog.at_level(logging.INFO, "densekit"):
        predict(checkpoint(), [scans / "a.nii.gz"], tmp_path / "out", device="cpu")
    lines = [m for m in caplog.messages if "window" in m]
    assert len(lines) > 1
    assert re.fullmatch(r"\[1/1\] a: window 2 of \d+ \(\d+%\), about .* left", lines[0])
