"""Abdominal phantoms in the raw BTCV layout: a data set to try every step on, made in seconds, owned by nobody.

They are made of smooth shapes with plausible attenuation, not of anatomy: what trains on them works, and says nothing
of how well it will do on patients.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from densekit.datasets.volume.prepare.anatomy import CAVITY, WALL, Abdomen
from densekit.datasets.volume.prepare.synapse import TEST_CASES, TRAINING_CASES, VALIDATING
from densekit.errors import ConfigError, OutputError
from densekit.io import Geometry, contents, load_json, write_image, write_json_atomic, write_label

ORIENTATIONS = ("LPS", "RAS", "LAS", "RPS", "LPI", "LAI", "PIR", "ASL", "SRA")
"""Axis orders in which the files are written, in turn."""

CHALLENGE_CASES = tuple(f"{number:04d}" for number in range(61, 81))
SETTINGS = "phantom.json"

_HEIGHT = (-103.0, 121.0)  # mm, lowest and highest slice in reference coordinates
_FORMAT = 1  # of what is painted; raise it when the same seed gives other volumes


def make_phantoms(
    out: Path,
    *,
    train: int = 12,
    val: int = 3,
    test: int = 3,
    unseen: int = 1,
    seed: int = 0,
    in_plane: tuple[float, float] = (2.4, 2.9),
    slices: tuple[float, float] = (4.0, 5.5),
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Write abdominal phantoms as ``OUT/RawData/{Training/{img,label},Testing/img}``, as BTCV's download lies.

    The ids are BTCV's, so that ``prepare synapse`` splits them as asked. A case depends on ``seed`` and its id only.
    Cases that are there already are kept, if they were made with the same settings.

    Args:
        out: Folder to make ``RawData`` in.
        train: Labelled cases that ``prepare synapse`` puts into ``train``, at most 15.
        val: Into ``val``, at most 3.
        test: Into ``test``, at most 12.
        unseen: Cases without label in ``Testing``, at most 20.
        seed: Seed of everything.
        in_plane: Range of the pixel size, mm.
        slices: Range of the slice distance, mm.
        progress: Called with the id of the case just finished, the number of finished cases and of all.

    Returns:
        The images: training, validation, test, unseen.

    Raises:
        ConfigError: for counts that the split does not have, or impossible spacings.
        OutputError: if ``out`` holds another data set, or cannot be written.
    """
    limits = {"train": (train, 15), "val": (val, VALIDATING), "test": (test, len(TEST_CASES)), "unseen": (unseen, 20)}
    for name, (count, limit) in limits.items():
        if not 0 <= count <= limit:
            raise ConfigError(f"{name}={count}: expected 0 to {limit}, as many as the split of Synapse has")
    for name, (low, high) in (("in_plane", in_plane), ("slices", slices)):
        if not 0.3 <= low <= high <= 15:
            raise ConfigError(f"{name}={(low, high)}: expected a range from smallest to largest, within 0.3 to 15 mm")
    out = Path(out).expanduser()
    raw = out / "RawData"
    settings = {"format": _FORMAT, "seed": seed, "in_plane": list(in_plane), "slices": list(slices)}
    _claim(out, raw, settings)
    labelled = [*TRAINING_CASES[VALIDATING:][:train], *TRAINING_CASES[:val], *TEST_CASES[:test]]
    targets = [(case, raw / "Training" / "img", raw / "Training" / "label") for case in labelled]
    targets += [(case, raw / "Testing" / "img", None) for case in CHALLENGE_CASES[:unseen]]
    images = []
    for done, (case, image_folder, label_folder) in enumerate(targets, start=1):
        image = image_folder / f"img{case}.nii.gz"
        label = label_folder / f"label{case}.nii.gz" if label_folder else None
        if not (image.is_file() and (label is None or label.is_file())):
            hu, labels, geometry = make_phantom(int(case), seed, in_plane, slices)
            write_image(image, hu, geometry)
            if label is not None:
                write_label(label, labels, geometry, like=None, names=None)
        images.append(image)
        if progress is not None:
            progress(case, done, len(targets))
    return images


def make_phantom(
    case: int, seed: int, in_plane: tuple[float, float], slices: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Make one phantom.

    Returns:
        Hounsfield units int16 and raw BTCV ids uint8, both ``(D, H, W)`` canonical, and the grid of the file.
    """
    rng = np.random.default_rng([seed, case])
    # Of this patient against the reference: left, posterior, superior.
    size = rng.uniform(0.92, 1.08, 3) * (1.0, 1.0, 0.97)
    fat = rng.uniform(6, 22)
    pixel, step = rng.uniform(*in_plane), rng.uniform(*slices)
    spacing = np.array((step, pixel, pixel))  # (D, H, W)
    margin = 10 + fat + WALL
    extent = np.array((_HEIGHT[1] - _HEIGHT[0], 2 * (CAVITY[1] + margin) + 14, 2 * (CAVITY[0] + margin))) * size[::-1]
    shape = tuple(int(n) for n in np.ceil(extent / spacing))
    turn = _rotation(rng, oblique=bool(rng.uniform() < 0.35))
    position = _patient_coordinates(rng, shape, spacing, turn, size)
    abdomen = Abdomen(position, fat, rng)
    hu = _scan(abdomen.hu, rng)
    geometry = _geometry(shape, spacing, turn, ORIENTATIONS[(seed + case) % len(ORIENTATIONS)], rng)
    return hu, abdomen.label, geometry


def _claim(out: Path, raw: Path, settings: dict) -> None:
    """Write down the settings, or check that what is there was made with the same."""
    file = out / SETTINGS
    if file.is_file():
        if load_json(file) != settings:
            raise OutputError(
                f"{out}: holds phantoms of other settings ({file.name}); delete it or choose another folder"
            )
    elif raw.exists():
        raise OutputError(
            f"{raw}: is there and not made by `densekit prepare phantom` ({contents(raw)}); choose another folder"
        )
    else:
        write_json_atomic(file, settings)


def _rotation(rng: np.random.Generator, *, oblique: bool) -> np.ndarray:
    """Return the rotation ``(3, 3)`` of the grid against the patient, up to 8 degrees; identity if not ``oblique``."""
    from scipy.spatial.transform import Rotation

    angles = rng.uniform(-1, 1, 3) * (8, 3, 4)
    return Rotation.from_euler("xyz", angles, degrees=True).as_matrix() if oblique else np.eye(3)


def _patient_coordinates(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: np.ndarray, turn: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Return ``(3, D, H, W)`` float32: each voxel's place in the reference; shifted, turned, scaled and warped."""
    d, h, w = (
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(s) for n, s in zip(shape, spacing, strict=True)
    )
    # Left, posterior, superior.
    grid = np.stack(np.broadcast_arrays(w[None, None, :], h[None, :, None], d[:, None, None]))
    centre = np.array((0.0, 5.0, sum(_HEIGHT) / 2)) + rng.uniform(-4, 4, 3)
    matrix = (turn / size[:, None]).astype(np.float32)
    position = np.einsum("ij,jdhw->idhw", matrix, grid) + centre.astype(np.float32)[:, None, None, None]
    warp = np.zeros_like(position)
    for _ in range(4):
        direction = rng.normal(size=3)
        wave = (2 * np.pi / rng.uniform(90, 180) * direction / np.linalg.norm(direction)).astype(np.float32)
        phase = np.tensordot(wave, position, axes=1) + np.float32(rng.uniform(0, 2 * np.pi))
        warp += rng.normal(0, 1.8, 3).astype(np.float32)[:, None, None, None] * np.sin(phase)
    return position + warp


def _scan(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur as a scanner does, add a slow shading and noise correlated within the slices; int16."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(hu, 0.3)  # about the average over a voxel
    noise = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.3, 0.7, 0.7))
    blurred += noise * np.float32(rng.uniform(9, 16) / noise.std())
    rows = np.linspace(-1, 1, hu.shape[1], dtype=np.float32)[:, None]
    blurred += np.float32(rng.uniform(-5, 5)) * rows
    return np.rint(blurred).clip(-1024, 3071).astype(np.int16)


def _geometry(
    shape: tuple[int, int, int], spacing: np.ndarray, turn: np.ndarray, orientation: str, rng: np.random.Generator
) -> Geometry:
    """Return the grid of a file in ``orientation`` whose canonical form has ``shape`` and ``spacing`` (D, H, W)."""
    towards = {"L": (2, 1), "R": (2, -1), "P": (1, 1), "A": (1, -1), "S": (0, 1), "I": (0, -1)}  # canonical axis, sense
    # Columns of `turn` are where left, posterior and superior lead; RAS has the first two reversed.
    lps_to_ras = np.diag((-1.0, -1.0, 1.0))
    canonical = (lps_to_ras @ turn)[:, ::-1] * spacing  # columns d, h, w
    affine = np.eye(4)
    corner = rng.uniform((-20, -20, -900), (20, 20, -100)) - canonical @ ((np.array(shape) - 1) / 2)
    for column, letter in enumerate(orientation):
        axis, sense = towards[letter]
        affine[:3, column] = sense * canonical[:, axis]
        if sense < 0:
            corner = corner + (shape[axis] - 1) * canonical[:, axis]
    affine[:3, 3] = corner
    return Geometry(shape=tuple(shape[towards[letter][0]] for letter in orientation), affine=affine)
