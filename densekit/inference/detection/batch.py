"""Predicting many pictures and videos: one bad file costs that file, a stopped run can be continued."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from densekit import __version__
from densekit.errors import DataError
from densekit.inference.detection import tables
from densekit.inference.detection.detections import Detections, is_found
from densekit.inference.detection.predictor import DetectionPredictor
from densekit.inference.detection.sources import PICTURES, PictureCase, check_inputs_fit, find_pictures
from densekit.inference.ledger import Ledger, sha256
from densekit.inference.progress import ManyProgress
from densekit.inference.run import BatchRun, CaseResult, RunResult, check_writable, results_to_keep, since
from densekit.inference.task import check_task
from densekit.inference.video import Frame, VideoReader, writing
from densekit.io import output_error, write_json_atomic
from densekit.io.images import Picture, read_picture
from densekit.io.staging import publish, staging_folder
from densekit.package.checkpoint import load_checkpoint
from densekit.visualization.detection.drawing import draw_detections
from densekit.visualization.detection.gallery import TILE, PictureReport, write_prediction_gallery
from densekit.visualization.shared.thumbnails import open_upright

logger = logging.getLogger("densekit")

SCORE_BINS = 20
"""Bars of the histogram of scores from 0 to 1."""

_TABLES = (tables.COCO, tables.RESULTS, tables.DETECTIONS, tables.COUNTS, "report.html")
_FOLDERS = ("pictures", "videos", "detections")
_JPEG_QUALITY = 90
_JPEG_LONGEST = 65500  # pixels of width or height: Pillow writes no larger JPEG
_COMMIT_SECONDS = 2.0
_COMMIT_SHARE = 0.05
_AHEAD = 3


def predict_images(
    checkpoint: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    device: str | torch.device = "auto",
    threshold: float | None = None,
    overwrite: bool = False,
) -> RunResult:
    """Find objects in pictures and videos, draw them, count them, and write a report.

    Per picture it writes ``pictures/<name>.jpg`` (what was found, drawn) and ``detections/<name>.json`` (all that was
    found, however unsure); per video ``videos/<name>.mp4``, ``.csv`` (a row for each detection) and ``.jpg`` (the frame
    with most objects). For all of the run ``predictions_coco.json``, ``coco_results.json``, ``detections.csv`` and
    ``counts.csv`` (see :func:`~densekit.inference.detection.tables.write_tables`) and ``report.html``; and
    ``predictions.json``, the folder's ledger. A result that is already there is kept if the ledger proves by hashes
    that this run would make the same. Ctrl-C ends the run with everything finished so far complete on disk. Progress
    and the table of failures are logged.

    Args:
        checkpoint: ``best.pth`` of a detector; it carries transforms, labels and settings.
        inputs: File, folder or glob, or several; see :func:`densekit.inference.detection.sources.find_pictures`.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        threshold: Replaces the checkpoint's lowest score that is drawn, listed and counted.
        overwrite: Replace results that are there and are not the same.

    Returns:
        What became of each input; ``exit_status`` is 0, 3 if some (or all) failed, 130 after Ctrl-C.

    Raises:
        DataError: if the inputs hold no picture, or are volumes.
        CheckpointError: if the checkpoint cannot be used.
        ConfigError: if the threshold cannot be or the device is not there.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    out = Path(out)
    inputs = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    loaded = load_checkpoint(checkpoint)
    check_task(loaded, "detection")
    check_inputs_fit(loaded.task, inputs, checkpoint=checkpoint)
    cases = find_pictures(inputs, out=out)
    predictor = DetectionPredictor.from_checkpoint(loaded, device=device, threshold=threshold)
    check_writable(out)
    settings = {"score_threshold": predictor.threshold}
    ledger = Ledger(out / "predictions.json", weights=sha256(Path(checkpoint)), settings=settings)
    kept = results_to_keep(cases, out, ledger, tables=_TABLES, overwrite=overwrite)
    ledger.start(checkpoint=str(checkpoint), device=str(predictor.device), inference=settings)
    videos = sum(case.is_video for case in cases)
    counted = ((len(cases) - videos, "picture"), (videos, "video"))
    kinds = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counted if count)
    logger.info("%s on %s, %d of them already done", kinds, predictor.device, len(kept))
    if predictor.own_threshold is not None and predictor.threshold < predictor.own_threshold:
        logger.warning(
            "threshold %g: the network itself gives nothing below a score of %g (score_thr of its test_cfg)",
            predictor.threshold,
            predictor.own_threshold,
        )
    return _PictureRun(predictor, ledger, out, cases, kept).run()


class _PictureRun(BatchRun):
    """One run over all pictures and videos.

    Results are held back in a staging folder and brought to the output folder every few seconds, all at once: the
    ledger is written as a whole, and for each of thousands of pictures that would take longer than predicting them.
    """

    part, whole = "picture", "picture"

    def __init__(
        self, predictor: DetectionPredictor, ledger: Ledger, out: Path, cases: Sequence[PictureCase], kept: set[str]
    ):
        super().__init__(ledger, out, cases, kept, ManyProgress(len(cases)))
        self.predictor = predictor
        self.told: set[str] = set()
        self.pause, self.committed = _COMMIT_SECONDS, time.monotonic()

    def run(self) -> RunResult:
        todo = [
            case for case in self.cases if case.id not in self.kept and not case.is_video and PICTURES.is_one(case.path)
        ]
        with staging_folder(self.out) as self.staging, _ReadAhead(self.predictor, todo) as self.ahead:
            return super().run()

    def record(self, case: PictureCase, **facts: Any) -> None:
        self.ledger.record(case, save=False, **facts)
        if time.monotonic() - self.committed > self.pause:
            self.commit()

    def commit(self) -> None:
        start = time.monotonic()
        # Ledger before files, as for scans: a file that nothing vouches for would be in the way of the next run.
        super().commit()
        for name in _FOLDERS:
            if (self.staging / name).is_dir():
                try:
                    (self.out / name).mkdir(exist_ok=True)
                except OSError as error:
                    raise output_error(self.out / name, error) from error
                publish(self.staging / name, self.out / name, last="")
        self.committed = time.monotonic()
        self.pause = max(_COMMIT_SECONDS, (self.committed - start) / _COMMIT_SHARE)

    def results(self, case: PictureCase, start: float) -> dict[str, Any]:
        case.check_suffix()
        with staging_folder(self.staging) as folder:
            facts = self._video(case, folder) if case.is_video else self._picture(case, folder)
            with self._output():
                facts["output_sha256"] = sha256(folder / Path(case.output_name).name)
                for file in folder.iterdir():
                    written = Path(case.output_name if file.suffix == ".json" else case.output_names[0])
                    (self.staging / written.parent).mkdir(exist_ok=True)
                    file.replace(self.staging / written.parent / file.name)
        self._tell(case, facts["notes"])
        facts = {"status": "ok", "output": case.output_name, **facts}
        facts["seconds"] |= since(start)
        self.record(case, **facts)
        return facts

    @contextmanager
    def _output(self) -> Iterator[None]:
        """An error of the file system in here is one of the output folder; one of Pillow's, without errno, is not."""
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise output_error(self.out, error) from error

    def _tell(self, case: PictureCase, notes: Sequence[str]) -> None:
        """Say once what was done with pictures of a kind."""
        for note in notes:
            if note not in self.told:
                self.told.add(note)
                logger.info("%s: %s (said once, the report lists all)", case.path, note)

    def _picture(self, case: PictureCase, folder: Path) -> dict[str, Any]:
        clock = _Clock()
        picture, data = self.ahead.take(case)
        clock.lap("read")
        found = self.predictor.detect(data, picture)
        clock.lap("predict")
        shown = found.above(self.predictor.threshold)
        size, notes = None, list(picture.notes)
        if max(found.size) > _JPEG_LONGEST:
            size = (_JPEG_LONGEST, _JPEG_LONGEST)
            notes.append(f"larger than a JPEG can be: drawn scaled down to {_JPEG_LONGEST} pixels")
        self._save(shown.draw(picture.rgb(), size=size), folder / f"{case.id}.jpg")
        clock.lap("draw")
        described = {"image": str(case.path), "width": found.size[0], "height": found.size[1]}
        content = {**described, "detections": found.to_list()}
        write_json_atomic(folder / f"{case.id}.json", content, indent=None)
        clock.lap("write")
        return {
            "inputs_sha256": [picture.sha256],
            "files": list(case.output_names),
            "size": list(found.size),
            "counts": shown.counts(),
            "scores": _histogram(found.scores).tolist(),
            "notes": notes,
            "seconds": clock.seconds,
        }

    def _video(self, case: PictureCase, folder: Path) -> dict[str, Any]:
        clock = _Clock()
        reader = VideoReader(case.path)
        try:
            frames = iter(reader)
            frame: Frame | None = next(frames)
            height, width = frame.pixels.shape[:2]
            tally = _Tally(self.predictor.labels)
            header = tables.columns(masks=self.predictor.masks, video=True)
            with (
                writing(folder, case.id, reader.fps, (width, height)) as writer,
                closing(tables.TableFile(folder / f"{case.id}.csv", header)) as table,
            ):
                while frame is not None:
                    found = self._frame(frame)
                    shown = found.above(self.predictor.threshold)
                    drawn = shown.draw(Picture(frame.pixels).rgb())
                    writer.write(np.asarray(drawn)[..., ::-1])
                    table.write(self._rows(case, frame, shown))
                    tally.add(found, shown, drawn)
                    self.progress.windows(tally.frames, reader.frames)
                    frame = next(frames, None)
            source = reader.sha256()
        finally:
            reader.close()
        self._save(tally.poster, folder / f"{case.id}.jpg")
        clock.lap("predict")
        return {
            "inputs_sha256": [source],
            "files": [f"videos/{writer.path.name}", f"videos/{case.id}.jpg", case.output_name],
            "size": [width, height],
            "frames": tally.frames,
            "counts": tally.most,
            "scores": tally.scores.tolist(),
            "notes": [*reader.notes, *writer.notes],
            "seconds": clock.seconds,
        }

    def _rows(self, case: PictureCase, frame: Frame, shown: Detections) -> Iterator[list[Any]]:
        for found in shown.to_list():
            cells = tables.table_row(case.path.name, found, masks=self.predictor.masks)
            yield [*cells, frame.number, f"{frame.seconds:.3f}"]

    def _save(self, image: Image.Image, path: Path) -> None:
        with self._output():
            image.save(path, quality=_JPEG_QUALITY)

    def _frame(self, frame: Frame) -> Detections:
        picture = Picture(frame.pixels)
        return self.predictor.detect(self.predictor.prepare(picture), picture)

    def summarize(self, status: int) -> RunResult:
        """Write the tables over all pictures."""
        result = RunResult(status, list(self.rows.values()), self.out)
        p = self.predictor
        tables.write_tables(self.out, result.rows, p.labels, threshold=p.threshold, masks=p.masks)
        run = sum(row.status != "not run" for row in result.rows)
        files = tables.relative_names([row.case.path for row in result.rows])
        write_prediction_gallery(
            self.out / "report.html",
            title="Detections" if run == len(result.rows) else f"Detections, stopped after {run} of {len(result.rows)}",
            pictures=[
                self._report(row, name) for row, name in zip(result.rows, files, strict=True) if row.status != "not run"
            ],
            names=p.labels,
            threshold=p.threshold,
            settings={
                "weights (sha256)": self.ledger.weights,
                "device": str(p.device),
                "score threshold": p.threshold,
                "the network's own threshold": p.own_threshold,
                "transforms": [str(transform) for transform in p.pipeline],
                "densekit": __version__,
                "torch": torch.__version__,
            },
        )
        return result

    def _report(self, row: CaseResult, name: str) -> PictureReport:
        facts = row.facts
        if row.status == "failed":
            return PictureReport(name, "failed", row.reason, seconds=facts["seconds"]["total"])
        return PictureReport(
            name,
            "ok",
            counts=facts["counts"],
            scores=facts["scores"],
            frames=facts.get("frames"),
            notes=facts["notes"],
            seconds=facts["seconds"]["total"],
            link=facts["files"][0],
            thumbnail=partial(self._thumbnail, row),
        )

    def _thumbnail(self, row: CaseResult) -> Image.Image | None:
        """Draw what was found once more, on a small picture: scaled down, names could not be read."""
        if row.case.is_video:
            poster = open_upright(str(self.out / "videos" / f"{row.case.id}.jpg"))
            return None if poster is None else ImageOps.contain(poster, TILE)
        try:
            image = read_picture(row.case.path).rgb()
        except DataError:  # gone or changed while the run went on
            return None
        found = [
            f for f in tables.found_in(self.out, row)["detections"] if is_found(f["score"], self.predictor.threshold)
        ]
        return draw_detections(
            image,
            [f["box"] for f in found],
            [f["label"] for f in found],
            [f["score"] for f in found],
            [f["mask"] for f in found] if self.predictor.masks else None,
            self.predictor.labels,
            size=TILE,
        )


class _Tally:
    """What a video's frames hold together.

    Attributes:
        frames: Number of frames.
        most: By class name, the objects of the frame that has most of them: the same object is in many frames.
        scores: Histogram of all scores.
        poster: The drawn frame with most objects, the first of them.
    """

    def __init__(self, names: Sequence[str]):
        self.frames, self.objects = 0, -1
        self.most = dict.fromkeys(names, 0)
        self.scores = np.zeros(SCORE_BINS, dtype=np.int64)
        self.poster: Image.Image | None = None

    def add(self, found: Detections, shown: Detections, drawn: Image.Image) -> None:
        """Count a frame.

        Args:
            found: All detections.
            shown: Those from the threshold on.
            drawn: The frame with them.
        """
        self.frames += 1
        self.scores += _histogram(found.scores)
        counts = shown.counts()
        self.most = {name: max(count, counts[name]) for name, count in self.most.items()}
        if len(shown) > self.objects:
            self.objects, self.poster = len(shown), drawn


class _ReadAhead:
    """Reads and transforms the next pictures in a thread while the network is busy with the one before.

    Args:
        predictor: Whose transforms are applied.
        cases: The pictures, in the order in which they will be taken.
    """

    def __init__(self, predictor: DetectionPredictor, cases: Sequence[PictureCase]):
        self.predictor, self.cases = predictor, list(reversed(cases))
        self.pool = ThreadPoolExecutor(1)
        self.waiting: dict[str, Future] = {}

    def __enter__(self) -> _ReadAhead:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def take(self, case: PictureCase) -> tuple[Picture, dict[str, Any]]:
        """The picture of a case, and what the network takes of it; raises what its reading raised."""
        while self.cases and len(self.waiting) < _AHEAD:
            following = self.cases.pop()
            self.waiting[following.id] = self.pool.submit(self._read, following)
        future = self.waiting.pop(case.id)
        return future.result()

    def _read(self, case: PictureCase) -> tuple[Picture, dict[str, Any]]:
        picture = read_picture(case.path)
        return picture, self.predictor.prepare(picture)


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.seconds[stage], self.last = round(now - self.last, 3), now


def _histogram(scores: np.ndarray) -> np.ndarray:
    return np.histogram(scores, bins=SCORE_BINS, range=(0, 1))[0]
