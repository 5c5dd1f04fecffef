"""What holds for every test."""

# ruff: noqa: I001  the order of these lines matters
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as densekit.cli does, and for its reason; before torch is loaded

import densekit  # noqa: F401  before mmengine, mmcv and mmdet, as in every program that uses its operators

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def default_scope_of_its_own():
    """MMEngine keeps the scope of the last Runner for the whole process; no test may depend on another's."""
    yield
    DefaultScope._instance_dict.clear()


def draw_scene(size=(96, 64), *, red=(8, 8, 40, 24), green=(56, 24, 88, 56), blue=None, dim=51) -> Image.Image:
    """A grey picture with rectangles (x1, y1, x2, y2); the blue one, if any, is dim: a score of 0.2."""
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
def picture(tmp_path):
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
