"""The rooms of the house: who may import whom, who knows no kind of job, and how long a file may be."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import densekit

HOUSE = Path(densekit.__file__).parent

ROOMS = (
    *("errors", "arguments", "registry", "config_tree", "random_state", "processes", "progress", "stopping"),
    *("ops", "structures", "io", "models"),
    *("datasets", "evaluation", "visualization", "package", "inference", "engine", "tasks", "api"),
    *("demo", "doctor", "cli", "__main__"),
)
"""From the ground up: each imports only from those that stand before it."""

JOBS = {"volume", "detection", "segmentation", "diagnosis"}

UPWARD: set[str] = set()
"""Imports that point upward still."""

OF_ONE_JOB: set[str] = set()
"""What files that all jobs share know of one of them still."""

LONG: dict[str, str] = {}
"""Files of more than 400 lines, each with its reason."""


OF_SEVERAL_MODULES = {
    "datasets/detection/test_depth.py": "the same pixels from the check through training to prediction",
    "datasets/detection/test_misconfigurations.py": "silent faults of the data, from recognising to what is trained on",
    "datasets/volume/test_absent.py": "what a case may lack, from the reader through the store to the sample",
    "docs/test_python_page.py": "the code blocks of a page, run",
    "engine/test_resume_and_processes.py": "a killed run goes on bit for bit; two processes do what one does",
    "engine/test_training_errors.py": "what ends a run, from the command line to the data process, is one line",
    "inference/detection/test_video.py": "inference/video.py by way of the detector whose fixtures lie here",
    "inference/volume/test_same_as_training.py": "the predictor's grid and values are the data set's",
    "io/test_memory.py": "scans of nibabel, SimpleITK and numpy go the way of their files",
    "models/assemble/test_detection_configs.py": "every detection config that is shipped",
    "models/assemble/test_segmentation_configs.py": "every segmentation config that is shipped",
    "models/assemble/test_matrix.py": "every backbone, neck and head with every other",
    "models/assemble/test_parts_of_mmdetection.py": "every part that another library registers",
    "models/test_all_parts.py": "every part that densekit registers",
    "ops/mmcv_ext/test_stock_models.py": "all stand-ins at once, under models of another library",
    "tasks/segmentation/test_training.py": "from a config on the command line to scores and predictions",
    "tasks/detection/test_training.py": "plan, data, report and score of a run, from the command line on",
    "tasks/test_a_new_task.py": "a kind of job that is registered from outside",
    "test_rooms.py": "the rooms themselves",
    "test_wheel.py": "the package as it is installed",
}
"""Tests of no one module, each with what it is about; all others lie where their module lies."""


@cache
def files() -> list[tuple[Path, ast.Module]]:
    """Path below the package, and content, of each file but the configs, which are no modules of it."""
    inside = [path.relative_to(HOUSE) for path in sorted(HOUSE.rglob("*.py"))]
    return [(p, ast.parse((HOUSE / p).read_text(encoding="utf-8"))) for p in inside if p.parts[0] != "configs"]


def imported(path: Path, tree: ast.Module) -> Iterator[str]:
    """Modules (and names in them) of the package that a file imports, wherever in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ("densekit", *path.parts)[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.startswith("densekit."))


def edges() -> Iterator[tuple[Path, str, str]]:
    """``(file, name that it imports, room of that)``."""
    for path, tree in files():
        for name in imported(path, tree):
            if (room := name.split(".")[1]) in ROOMS:
                yield path, name, room


def room_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def test_every_file_is_in_a_room():
    assert {room_of(path) for path, _ in files()} - {"__init__"} <= set(ROOMS)


def test_imports_point_to_the_ground():
    """The package's own ``__init__`` stands on ``ops``; what it offers is loaded when somebody asks for it."""
    upward = {
        f"{path.as_posix()} -> {room}"
        for path, _, room in edges()
        if room_of(path) != "__init__" and ROOMS.index(room) > ROOMS.index(room_of(path))
    }
    assert upward == UPWARD


def test_what_all_jobs_share_names_none_of_them():
    """From the data sets to the engine, a file that does not stand under the name of a job imports nothing that does.

    The engine has no place for a job at all. A room's own ``__init__`` may import what registers itself.
    """
    shared = set()
    between = ROOMS[ROOMS.index("datasets") : ROOMS.index("tasks")]
    for path, name, _ in edges():
        own = room_of(path) != "engine" and JOBS & {*path.parts, path.stem}
        if room_of(path) in between and not own and path.parts[1:] != ("__init__.py",):
            parts = name.split(".")
            shared |= {f"{path.as_posix()} -> {'.'.join(parts[1 : n + 1])}" for n, p in enumerate(parts) if p in JOBS}
    assert shared == OF_ONE_JOB


def test_no_file_is_longer_than_one_sitting():
    lengths = {path.as_posix(): len((HOUSE / path).read_text(encoding="utf-8").splitlines()) for path, _ in files()}
    assert {path for path, length in lengths.items() if length > 400} == set(LONG)


def has_module(test: Path) -> bool:
    """Whether ``a/test_b.py`` has a module ``a/b.py`` or a package ``a/b/``, or is one of several of ``a.py``."""
    named = HOUSE / test.parent / test.stem.removeprefix("test_")
    return any(
        place.is_file() for place in (named.with_suffix(".py"), named / "__init__.py", HOUSE / f"{test.parent}.py")
    )


def test_tests_lie_where_their_module_lies():
    tests = Path(__file__).parent
    there = {path.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert {path.as_posix() for path in there if not has_module(path)} == set(OF_SEVERAL_MODULES)
