"""Predicting many images and videos: one bad file costs that file, a stopped run can be continued.

What is done with one image is the task's; here are reading ahead, videos frame by frame, and the writing of results all
at once every few seconds.
"""

from __future__ import annotations

import csv
import json
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from densekit import __version__
from densekit.inference.images import ImageCase, ImagePredictor, ImageResult, find_images
from densekit.inference.inputs import IMAGES
from densekit.inference.ledger import LEDGER, Ledger
from densekit.inference.run import BatchRun, RunResult, check_writable, results_to_keep, since
from densekit.inference.tables import TableFile, relative_names
from densekit.inference.video import Frame, VideoReader, writing
from densekit.io import atomic_path, output_error, sha256, write_json_atomic
from densekit.io.images import LoadedImage
from densekit.io.staging import publish, staging_folder
from densekit.package import Checkpoint
from densekit.progress import ManyProgress

logger = logging.getLogger("densekit")

_JPEG_QUALITY = 90
_JPEG_LONGEST = 65500  # pixels of width or height: Pillow writes no larger JPEG
_COMMIT_SECONDS = 2.0
_COMMIT_SHARE = 0.05
_AHEAD = 3
_LEDGER_FACTS = ("status", "output", "output_sha256", "inputs_sha256", "files", "seconds", "reason")


class Tally:
    """What the frames of a video hold together, and the lines of their table.

    Args:
        facts: Gives the facts of a frame; those of the last one stand for the video.

    Attributes:
        frames: Number of frames.
        poster: The drawn frame that stands for the video, here the first.
        notes: What is to be said of the video.
    """

    def __init__(self, facts: Callable[[Any], dict[str, Any]]):
        self.facts_of, self.last = facts, {}
        self.notes: list[str] = []
        self.frames = 0
        self.poster: Image.Image | None = None

    def add(self, frame: Frame, found: ImageResult, drawn: Image.Image) -> None:
        """Count a frame."""
        self.frames, self.last = self.frames + 1, self.facts_of(found)
        self.poster = self.poster or drawn

    def header(self) -> Sequence[str]:
        """Columns of the table of all frames."""
        return ("frame", "time_s", "result")

    def rows(self, frame: Frame, found: ImageResult) -> Iterator[Sequence[Any]]:
        """Its lines for a frame."""
        yield (frame.number, f"{frame.seconds:.3f}", json.dumps(self.facts_of(found)))

    def facts(self) -> dict[str, Any]:
        """What the ledger says of the video."""
        return self.last


def predict_images(
    run: type[ImageRun],
    predictor: ImagePredictor,
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RunResult:
    """Predict images and videos into a folder, one bad file costing that file.

    Per image it writes ``pictures/<name>.jpg`` (the result, drawn) and ``<folder>/<name>.json``; per video
    ``videos/<name>.mp4``, ``.csv`` (rows for every frame) and ``.jpg``; the tables over all of them; and
    ``predictions.json``, the folder's ledger. A result that is already there is kept if the ledger proves by hashes
    that this run would make the same. Ctrl-C ends the run with everything finished so far complete on disk. Progress
    and the table of failures are logged.

    Args:
        run: What is done with each.
        predictor: Predicts one.
        checkpoint: Of the predictor.
        inputs: Files, folders, globs; see :func:`find_images`.
        out: Output folder.
        settings: Settings that may change a result.
        overwrite: Replace results that are there and are not the same.

    Raises:
        DataError: if the inputs hold no image.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    cases = find_images(inputs, out=out, folder=run.folder, kind=run.case)
    check_writable(out)
    settings = dict(settings or {})
    ledger = Ledger(out / LEDGER, task=predictor.task, weights=checkpoint.sha256, settings=settings)
    kept = results_to_keep(cases, out, ledger, tables=run.tables, overwrite=overwrite)
    ledger.start(checkpoint=str(checkpoint.path), device=str(predictor.device), inference=settings)
    videos = sum(case.is_video for case in cases)
    counted = ((len(cases) - videos, "image"), (videos, "video"))
    kinds = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counted if count)
    logger.info("%s on %s, %d of them already done", kinds, predictor.device, len(kept))
    return run(predictor, ledger, out, cases, kept).run()


class ImageRun(BatchRun):
    """One run over all images and videos.

    Results are held back in a staging folder and brought to the output folder every few seconds, all at once: the
    ledger is written as a whole, and for each of thousands of images that would take longer than predicting them.

    Args:
        predictor: Predicts one image.
        ledger: Of the output folder.
        out: Output folder.
        cases: All cases, in order.
        kept: Ids of those whose results stay.
    """

    part, whole = "image", "image"
    folder: ClassVar[str] = "results"
    """Folder of what was found in each image, below the output folder."""
    case: ClassVar[type[ImageCase]] = ImageCase
    """What an image or video is to the run; it knows the names of its files."""
    tables: ClassVar[tuple[str, ...]] = ("results.csv",)
    """Files over all images."""

    def __init__(
        self, predictor: ImagePredictor, ledger: Ledger, out: Path, cases: Sequence[ImageCase], kept: set[str]
    ):
        super().__init__(ledger, out, cases, kept, ManyProgress(len(cases)))
        self.predictor = predictor
        self.pause, self.committed = _COMMIT_SECONDS, time.monotonic()

    def shown(self, found: ImageResult) -> ImageResult:
        """That part of a result that is drawn and counted."""
        return found

    @abstractmethod
    def facts(self, found: ImageResult) -> dict[str, Any]:
        """What the ledger says of an image."""

    def described(self, **own: Any) -> dict[str, Any]:
        """The settings of the run as ``report.html`` lists them, those of the task among them."""
        return {
            "weights (sha256)": self.ledger.weights,
            "device": str(self.predictor.device),
            **own,
            "transforms": [str(transform) for transform in self.predictor.pipeline],
            "densekit": __version__,
            "torch": torch.__version__,
        }

    def notes(self, found: ImageResult) -> list[str]:
        """What is to be said of the result of an image."""
        return []

    def reads_ahead(self, case: ImageCase) -> bool:
        """Whether an image is read as a whole, before its turn."""
        return True

    def draw_frame(self, found: ImageResult, image: LoadedImage) -> Image.Image:
        """Draw a result on its frame of a video, in the frame's size."""
        return self.shown(found).draw_on(image.rgb())

    def write(self, found: ImageResult, case: ImageCase, folder: Path) -> list[str]:
        """Write what was found in an image into a folder that stands for the output folder.

        Returns:
            Names of the files in it, :attr:`ImageCase.output_name` the last.
        """
        described = {"image": str(case.path), "width": found.image.size[0], "height": found.image.size[1]}
        write_json_atomic(within(folder, case.output_name), {**described, **found.to_dict()}, indent=None)
        return [case.output_name]

    def tally(self, case: ImageCase) -> Tally:
        """A new account of the frames of a video."""
        return Tally(self.facts)

    def summarize(self, status: int) -> RunResult:
        """Write the facts of all images as ``results.csv``."""
        result = RunResult(status, list(self.rows.values()), self.out, self.tables)
        names = relative_names([row.case.path for row in result.rows])
        with atomic_path(self.out / "results.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("image", "status", "result", "reason"))
            for name, row in zip(names, result.rows, strict=True):
                own = {key: row.facts[key] for key in row.facts if key not in _LEDGER_FACTS}
                table.writerow((name, row.status, json.dumps(own), row.reason or ""))
        return result

    def run(self) -> RunResult:
        todo = [
            case
            for case in self.cases
            if case.id not in self.kept and not case.is_video and IMAGES.is_one(case.path) and self.reads_ahead(case)
        ]
        with staging_folder(self.out) as self.staging, ReadAhead(self.predictor, todo) as self.ahead:
            return super().run()

    def record(self, case: ImageCase, **facts: Any) -> None:
        self.ledger.record(case, save=False, **facts)
        self._commit_if_due()

    def _commit_if_due(self) -> None:
        if time.monotonic() - self.committed > self.pause:
            self.commit()

    def commit(self) -> None:
        start = time.monotonic()
        # Ledger before files, as for scans: a file that nothing vouches for would be in the way of the next run.
        super().commit()
        for folder in sorted(path for path in self.staging.iterdir() if not path.name.startswith(".")):
            target = self.out / folder.name
            try:
                target.mkdir(exist_ok=True)
            except OSError as error:
                raise output_error(target, error) from error
            publish(folder, target, last="")
        self.committed = time.monotonic()
        self.pause = max(_COMMIT_SECONDS, (self.committed - start) / _COMMIT_SHARE)

    def results(self, case: ImageCase, start: float) -> dict[str, Any]:
        case.check_suffix()
        with staging_folder(self.staging) as folder:
            facts = self._video(case, folder) if case.is_video else self._image(case, folder)
            with self._output():
                facts["output_sha256"] = sha256(folder / case.output_name)
            facts = {"status": "ok", "output": case.output_name, **facts}
            facts["seconds"] |= since(start)
            # Ledger before files here as well: stopped in between, the case runs again.
            self.ledger.record(case, save=False, **facts)
            with self._output():
                for name in facts["files"]:
                    (folder / name).replace(within(self.staging, name))
        self._commit_if_due()
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

    def _image(self, case: ImageCase, folder: Path) -> dict[str, Any]:
        clock = Clock()
        image, data = self.ahead.take(case)
        clock.lap("read")
        found = self.predictor.predict_prepared(data, image)
        clock.lap("predict")
        size, notes = None, [*image.notes, *self.notes(found)]
        if max(image.size) > _JPEG_LONGEST:
            size = (_JPEG_LONGEST, _JPEG_LONGEST)
            notes.append(f"larger than a JPEG can be: drawn scaled down to {_JPEG_LONGEST} pixels")
        picture = f"pictures/{case.id}.jpg"
        self.save(self.shown(found).draw_on(image.rgb(), size=size), within(folder, picture))
        clock.lap("draw")
        files = self.write(found, case, folder)
        clock.lap("write")
        return {
            "inputs_sha256": [image.sha256],
            "files": [picture, *files],
            "size": list(image.size),
            **self.facts(found),
            "notes": notes,
            "seconds": clock.seconds,
        }

    def _video(self, case: ImageCase, folder: Path) -> dict[str, Any]:
        clock = Clock()
        reader = VideoReader(case.path)
        videos = within(folder, case.output_name).parent
        try:
            frames = iter(reader)
            frame: Frame | None = next(frames)
            height, width = frame.pixels.shape[:2]
            tally = self.tally(case)
            with (
                writing(videos, case.id, reader.fps, (width, height)) as writer,
                closing(TableFile(folder / case.output_name, tally.header())) as table,
            ):
                while frame is not None:
                    image = LoadedImage(frame.pixels)
                    found = self.predictor.predict(image)
                    drawn = self.draw_frame(found, image)
                    writer.write(np.asarray(drawn)[..., ::-1], frame.seconds)
                    table.write(tally.rows(frame, found))
                    tally.add(frame, found, drawn)
                    self.progress.windows(tally.frames, reader.frames)
                    frame = next(frames, None)
            source = reader.sha256()
        finally:
            reader.close()
        self.save(tally.poster, videos / f"{case.id}.jpg")
        clock.lap("predict")
        return {
            "inputs_sha256": [source],
            "files": [f"videos/{writer.path.name}", f"videos/{case.id}.jpg", case.output_name],
            "size": [width, height],
            "frames": tally.frames,
            **tally.facts(),
            "notes": [*reader.notes, *writer.notes, *tally.notes],
            "seconds": clock.seconds,
        }

    def save(self, picture: Image.Image, path: Path) -> None:
        """Write a picture as JPEG."""
        with self._output():
            picture.save(path, quality=_JPEG_QUALITY)


def within(folder: Path, name: str) -> Path:
    """A file below a folder, whose own folder is made."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return path


class ReadAhead:
    """Reads and transforms the next images in a thread while the network is busy with the one before.

    Args:
        predictor: Whose transforms are applied.
        cases: The images, in the order in which they will be taken.
    """

    def __init__(self, predictor: ImagePredictor, cases: Sequence[ImageCase]):
        self.predictor, self.cases = predictor, list(reversed(cases))
        self.pool = ThreadPoolExecutor(1)
        self.waiting: dict[str, Future] = {}

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def take(self, case: ImageCase) -> tuple[LoadedImage, dict[str, Any]]:
        """The image of a case, and what the network takes of it; raises what its reading raised."""
        while self.cases and len(self.waiting) < _AHEAD:
            following = self.cases.pop()
            self.waiting[following.id] = self.pool.submit(self._read, following)
        future = self.waiting.pop(case.id)
        return future.result()

    def _read(self, case: ImageCase) -> tuple[LoadedImage, dict[str, Any]]:
        image = self.predictor.load(case.path)
        return image, self.predictor.prepare(image)


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.seconds[stage], self.last = round(now - self.last, 3), now
