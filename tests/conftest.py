"""What holds for every test."""

# ruff: noqa: I001  the order of these lines matters
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as densekit.cli does, and for its reason; before torch is loaded

import densekit  # noqa: F401  before mmengine, mmcv and mmdet, as in every program that uses its operators

import multiprocessing
import random
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from mmengine.registry import DefaultScope


def pytest_addoption(parser) -> None:
    parser.addoption("--full-matrix", action="store_true", help="every backbone, neck and head with every other")
    parser.addoption("--matrix-seed", type=int, help="which of them are tried otherwise; chosen anew in each run")


def pytest_configure(config) -> None:
    if config.option.matrix_seed is None:  # processes that share the tests find it in their environment
        drawn = str(random.SystemRandom().randrange(10_000))
        config.option.matrix_seed = int(os.environ.setdefault("DENSEKIT_MATRIX_SEED", drawn))


def pytest_report_header(config) -> str:
    return f"models put together by chance: --matrix-seed {config.option.matrix_seed}"


@pytest.fixture(autouse=True)
def whatever_ran_before():
    """No test depends on those that ran before it in the process: on their random numbers, on MMEngine's scope."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
    DefaultScope._instance_dict.clear()


def pytest_sessionfinish() -> None:
    """Let go of what data processes have sent before the interpreter takes torch apart.

    torch keeps a weak reference to each tensor that it received from another process; one that outlives torch's own
    modules ends in an ignored exception, dozens of them after the last line of the tests.
    """
    if "torch.multiprocessing.reductions" in sys.modules:
        sys.modules["torch.multiprocessing.reductions"].shared_cache.clear()


_COMMAND = "import sys; from densekit.cli import main; sys.exit(main(sys.argv[1:]))"
_START = """
import os, signal, sys

os.setsid()  # a Ctrl-C that is sent to it does not reach the tests
signal.signal(signal.SIGINT, signal.default_int_handler)
for stream, path in ((1, out), (2, err)):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
os.environ.update(environment, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
sys.argv[1:] = arguments

import torch

torch.set_num_threads(1)
exec(code, {"__name__": "__main__"})
"""


@dataclass
class Started:
    """A process under way; what it prints stands in the files ``out`` and ``err``."""

    process: multiprocessing.Process
    out: Path
    err: Path

    def wait(self, timeout=300) -> subprocess.CompletedProcess:
        """As ``subprocess.run`` returns it."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            pytest.fail(f"not finished after {timeout} s: {self.out.read_text()[-2000:]}{self.err.read_text()[-2000:]}")
        return subprocess.CompletedProcess(
            self.process.name, self.process.exitcode, self.out.read_text(), self.err.read_text()
        )


PRELOADED = ["densekit", "densekit.engine.train", "densekit.tasks.detection.plan", "mmdet.models"]


class Launcher:
    """Starts processes that need not import torch and MMDetection anew, which takes longer than what they do.

    They are forked from a server that has imported them and done nothing since; so they share nothing with the tests.
    Unlike processes of their own they end without the interpreter's going down.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.context = multiprocessing.get_context("forkserver")
        for module in PRELOADED:
            if find_spec(module) is None:  # the server would leave it out without a word
                raise ModuleNotFoundError(f"{module}: tests/conftest.py preloads it, and there is no such module")
        self.context.set_forkserver_preload(PRELOADED)

    def start(self, code: str, *arguments: object, **environment: object) -> Started:
        """Run code with ``sys.argv[1:]`` and more environment variables, on one thread."""
        self.number += 1
        out, err = (self.folder / f"{self.number}.{stream}" for stream in ("out", "err"))
        given = {"out": str(out), "err": str(err), "code": code, "arguments": [str(a) for a in arguments]}
        given["environment"] = {key: str(value) for key, value in environment.items()}
        process = self.context.Process(target=exec, args=(_START, given), name=f"process {self.number}")
        process.start()
        return Started(process, out, err)

    def command(self, *arguments: object, **environment: object) -> Started:
        """``densekit VERB ...``"""
        return self.start(_COMMAND, *arguments, **environment)

    def pair(self, *arguments: object, code: str = _COMMAND) -> list[subprocess.CompletedProcess]:
        """``densekit VERB ...`` as a run of two processes, with the variables that torchrun sets."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        both = [self.start(code, *arguments, RANK=rank, LOCAL_RANK=rank, **shared) for rank in range(2)]
        return [process.wait() for process in both]


@pytest.fixture(scope="session")
def launcher(tmp_path_factory) -> Launcher:
    """Starts processes of their own without their imports."""
    return Launcher(tmp_path_factory.mktemp("processes"))


def draw_scene(size=(96, 64), *, red=(8, 8, 40, 24), green=(56, 24, 88, 56), blue=None, dim=51) -> Image.Image:
    """A grey image with rectangles (x1, y1, x2, y2); the blue one, if any, is dim: a score of 0.2."""
    image = Image.new("RGB", size, (20, 20, 20))
    drawing = ImageDraw.Draw(image)
    for box, color in ((red, (255, 0, 0)), (green, (0, 204, 0)), (blue, (0, 0, dim))):
        if box is not None:
            drawing.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=color)
    return image


@pytest.fixture
def scene():
    return draw_scene


@pytest.fixture
def image_file(tmp_path):
    """Write a scene and return its path."""

    def write(name="a.png", image=None, **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (draw_scene(**options) if image is None else image).save(path)
        return path

    return write


@pytest.fixture
def video(tmp_path):
    """Write a video of a red rectangle that moves 4 pixels a frame, and return its path."""

    def write(name="film.avi", *, frames=6, fps=10.0, size=(96, 64)) -> Path:
        import cv2

        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, size)
        for n in range(frames):
            writer.write(np.asarray(draw_scene(size, red=(4 * n, 8, 4 * n + 24, 40), green=None))[..., ::-1])
        writer.release()
        return path

    return write
