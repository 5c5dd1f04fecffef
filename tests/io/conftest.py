"""Affines of every orientation and kind, for the tests of this folder."""

import numpy as np
import pytest

SPACING = (0.7, 0.9, 2.5)


def make_affine(orientation: str, kind: str = "aligned", origin=(-12.5, 30.25, 7.75)) -> np.ndarray:
    """RAS affine, spacing (0.7, 0.9, 2.5) mm, whose file axes run to ``orientation``.

    oblique: turned by 20 degrees about two axes; sheared: the third axis tilted by 8 degrees, as by a CT gantry.
    """
    axes = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        row = next(r for r, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        axes[row, column] = 1 if letter in "RAS" else -1
    if kind == "oblique":
        turn = np.deg2rad(20)
        about_x = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
        about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        axes = about_z @ about_x @ axes
    if kind == "sheared":
        axes[:, 2] = axes[:, 2] * np.cos(np.deg2rad(8)) + axes[:, 1] * np.sin(np.deg2rad(8))
    affine = np.eye(4)
    affine[:3, :3] = axes * SPACING
    affine[:3, 3] = origin
    return affine


@pytest.fixture(name="make_affine", scope="session")
def _make_affine():
    return make_affine
