"""YOLO text labels: a data.yaml as Ultralytics and Roboflow write it, or images and labels folders without one."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from densekit.datasets.detection.draft import DetectionSource, Draft, DraftImage, Part, objects_of
from densekit.datasets.detection.findings import Findings
from densekit.datasets.detection.yolo_labels import Labels
from densekit.datasets.shared.image_files import IMAGE_SUFFIXES, ImageIndex, is_image, list_tree, subfolders
from densekit.datasets.shared.image_splits import split_of
from densekit.datasets.shared.similar import look_alike
from densekit.errors import DataError, few
from densekit.io.files import read_text

_KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "_darknet.labels", "notes.json")
_NOT_LABELS = frozenset({*_NAME_FILES, "readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "license.txt"})
_DESCRIBING = ("data", "dataset")
"""Stems of a YAML file that nothing else is called."""


def find(root: Path) -> DetectionSource | None:
    """Look for a data.yaml in ``root``; without one, for images and labels folders in the usual arrangements.

    Raises:
        DataError: if there are several such YAML files, or one that cannot be followed.
    """
    files = sorted(f for f in root.iterdir() if f.suffix.lower() in (".yaml", ".yml") and f.is_file())
    described = [file for file in files if _is_data_yaml(file)]
    preferred = [file for file in described if file.stem == "data"] or described
    if len(preferred) > 1:
        raise DataError(f"{root}: {few(f.name for f in preferred)} could each describe it; give the path of one")
    return find_file(preferred[0]) if preferred else _find_folders(root)


def find_file(path: Path) -> DetectionSource | None:
    """Follow a data.yaml.

    Raises:
        DataError: if a folder that it names is not there, or its class names cannot be understood.
    """
    content = _load_yaml(path)
    if not isinstance(content, dict) and path.stem in _DESCRIBING:
        what = f"holds {str(content)[:40]!r}" if content is not None else "is empty"
        raise DataError(f"{path}: {what}; expected train:, val: and names:, write it again")
    if not isinstance(content, dict) or "names" not in content:
        return None
    names = _names(path, content)
    entries = {key: content[key] for key in _KEYS if content.get(key)}
    if not entries:
        return _find_folders(path.parent, names=names, names_from=path)
    base, notes = _base(path, content, entries)
    parts, missing = [], []
    for key, value in entries.items():
        for entry in value if isinstance(value, list) else [value]:
            target = _resolve(base, str(entry))
            if target is None:
                missing.append((key, entry))
            else:
                parts.append(Part(_KEYS[key], target))
    there = {part.split for part in parts}
    for key, entry in missing:
        if _KEYS[key] != "test" and (not there or there & {"train", _KEYS[key]}):  # else what is there can be scored
            raise DataError(f"{path}: {key}: {entry} is neither a folder nor a file (looked in {base}); correct it")
        notes.append(f"{path.name} has {key}: {entry}, which is not there; left out")
    root = path.parent if all(part.path.is_relative_to(path.parent) for part in parts) else base
    words = few(f"{_short(part.path, root)} ({part.split})" for part in parts)
    pose = bool(content.get("kpt_shape"))
    layout = f"YOLO, {path.name}: {words}"
    return DetectionSource("yolo", root, layout, tuple(parts), read, names, path, pose, tuple(notes))


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _is_data_yaml(path: Path) -> bool:
    try:
        content = _load_yaml(path)
    except DataError:
        return path.stem in _DESCRIBING  # then reading it says what is wrong with it
    if not isinstance(content, dict):
        return path.stem in _DESCRIBING
    return "names" in content and bool({"path", "nc", *_KEYS} & content.keys())


def _load_yaml(path: Path) -> Any:
    """Read a YAML file. Class names are text, also where YAML takes them for something else: on, no, 1.10."""
    import yaml

    text = read_text(path)
    try:
        content = yaml.safe_load(text)
        if isinstance(content, dict) and isinstance(content.get("names"), (list, dict)):
            content["names"] = yaml.load(text, Loader=yaml.BaseLoader)["names"]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as YAML ({reason}); correct the file") from error
    return content


def _names(path: Path, content: Mapping) -> dict[int, str]:
    names = content["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(str(key).isdigit() for key in names):
        raise DataError(f"{path}: names: {str(names)[:60]!r}; expected a list of names, or numbers with names")
    names = {int(key): str(name).strip() for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
    if isinstance(content.get("nc"), int) and content["nc"] != len(names):
        raise DataError(f"{path}: nc: {content['nc']}, but there are {len(names)} names; correct nc or complete names")
    _refuse_twins(path, names)
    return names


def _refuse_twins(path: Path, names: Mapping[int, str]) -> None:
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise DataError(f"{path}: {twice[0]!r} is the name of two numbers; give each class its own name")


def _base(path: Path, content: Mapping, entries: Mapping) -> tuple[Path, list[str]]:
    """Return the folder that the entries are relative to: what ``path:`` says, if it is there."""
    said = content.get("path")
    if not said:
        return path.parent, []
    for base in (Path(str(said)).expanduser(), path.parent / str(said)):
        if base.is_absolute() and base.is_dir():
            return base.resolve(), []
    return path.parent, [f"{path.name} has path: {said}, which is not there; its own folder is used"]


def _resolve(base: Path, entry: str) -> Path | None:
    """Find a folder or list; Roboflow writes ``../train/images`` for what lies in ``train/images``."""
    for candidate in (entry, entry.removeprefix("../"), entry.removeprefix("./")):
        if (base / candidate).exists():
            return (base / candidate).resolve()
    return None


def _find_folders(
    root: Path, names: Mapping[int, str] | None = None, names_from: Path | None = None
) -> DetectionSource | None:
    parts = [
        *_pairs(root / "images", root / "labels"),
        *(
            p
            for f in subfolders(root)
            if split_of(f.name)
            for p in _pairs(f / "images", f / "labels", split_of(f.name))
        ),
    ]
    where = [root, root / "labels"]
    if names is None:
        names, names_from = _names_beside(where)
    if not parts and names is not None:
        flat = [(split_of(f.name), f) for f in subfolders(root) if split_of(f.name)]
        flat = flat or [(None, root), *((None, f) for f in [root / "images"] if f.is_dir())]
        parts = [Part(split, folder) for split, folder in flat if _has_pairs(folder)]
    if not parts:
        return None
    words = few(f"{part.path.relative_to(root).as_posix()} ({part.split or 'all images'})" for part in parts)
    layout = f"YOLO: {words}; names from {names_from.name if names_from else 'nowhere'}"
    return DetectionSource("yolo", root, layout, tuple(parts), read, names, names_from)


def _pairs(images: Path, labels: Path, split: str | None = None) -> Iterator[Part]:
    if not (images.is_dir() and labels.is_dir()):
        return
    by_split = [f for f in subfolders(images) if split_of(f.name) and (labels / f.name).is_dir()]
    for folder in by_split:
        yield Part(split_of(folder.name), folder)
    if not by_split and next(labels.rglob("*.txt"), None) is not None:
        yield Part(split, images)


def _has_pairs(folder: Path) -> bool:
    return any(
        f.suffix.lower() in IMAGE_SUFFIXES and f.with_suffix(".txt").is_file() for f in folder.iterdir() if f.is_file()
    )


def _names_beside(folders: Sequence[Path]) -> tuple[dict[int, str] | None, Path | None]:
    file = next((folder / name for folder in folders for name in _NAME_FILES if (folder / name).is_file()), None)
    if file is None:
        return None, None
    try:
        text = read_text(file)
        if file.suffix == ".json":  # Label Studio's notes.json
            lines = [str(c["name"]) for c in sorted(json.loads(text)["categories"], key=lambda c: c["id"])]
        else:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: the class names cannot be read ({error}); write one name per line") from error
    names = dict(enumerate(lines))
    _refuse_twins(file, names)
    return names, file


def read(source: DetectionSource) -> Draft:
    """Read the labels of all images. A missing or empty label file is a background image.

    Raises:
        DataError: if no file says what the classes are called, or a list of images cannot be read.
    """
    if source.class_names is None:
        raise DataError(
            f"{source.root}: no file names the classes (looked for data.yaml, {', '.join(_NAME_FILES)}); write "
            f"data.yaml with a line names: [first, second, ...] in the order of the class numbers"
        )
    findings = Findings()
    images: list[DraftImage] = []
    rows: list[tuple] = []
    place = {number: label for label, number in enumerate(source.class_names)}
    reader = Labels(place, source, findings)
    finder = _Images(source, findings)
    without, owners = [], {}
    for part in source.parts:
        files = list(finder.images(part))
        owners |= {str(label): image for image, label in files}
        for image, label in files:
            found = finder.is_there(image)
            images.append(DraftImage(source.relative(image), part.split, source=source.relative(label), found=found))
            read_rows = reader.read(label, len(images) - 1) if found else ()
            rows += read_rows or ()
            if read_rows is None:
                without.append(images[-1].file)
        _orphans(part, [label for _, label in files], source, findings)
    reader.refuse_rivals(owners)
    there = sum(image.found for image in images)
    if len(without) < there:
        findings.rows("image-without-label", range(len(without)), lambda n: without[n])
    elif there:
        expected = next(image.source for image in images if image.found)
        raise DataError(f"{source.root}: none of the {there} images has a label file; expected {expected}")
    if any(row[3] is not None for row in rows):  # boxes of a set with outlines are outlines that were not drawn
        findings.add("layout", count=1, message="rows with points are outlines; their boxes are taken around them")
    return Draft(images, list(source.class_names.values()), objects_of(rows), findings, "line", fractions=True)


class _Images:
    """Finds the images of the parts of a source, and the label file of each."""

    def __init__(self, source: DetectionSource, findings: Findings) -> None:
        self.source = source
        self.findings = findings
        self.listed: set[Path] = set()
        self.missing: set[Path] = set()

    def is_there(self, image: Path) -> bool:
        """Whether an image that a list names was found; what a folder holds is there."""
        return image not in self.missing

    def images(self, part: Part) -> Iterator[tuple[Path, Path]]:
        """Return the images of a part with their label files, but for two images of one label file."""
        files = self._in_folder(part) if part.path.is_dir() else self._in_list(part)
        by_label: dict[Path, list[Path]] = {}
        for image in files:
            by_label.setdefault(self._label_file(image), []).append(image)
        for label, found in by_label.items():
            different = list(dict.fromkeys(found))
            if any(not look_alike(str(different[0]), str(image)) for image in different[1:]):
                names = " or ".join(map(self.source.relative, different))
                self.findings.add("image-ambiguous", f"{self.source.relative(label)}: is of {names}")
            else:
                yield from ((image, label) for image in found)

    def _in_folder(self, part: Part) -> list[Path]:
        return [part.path / name for name in sorted(n for n in list_tree(part.path) if is_image(n))]

    def _in_list(self, part: Part) -> list[Path]:
        """Follow a list of images; what is not where it says is looked for by the end of its path."""
        names = [line.strip().replace("\\", "/") for line in read_text(part.path).split("\n") if line.strip()]
        files = [_listed((part.path.parent, self.source.root), name) for name in names]
        lost = [number for number, file in enumerate(files) if not file.is_file()]
        if not lost:
            return files
        index = ImageIndex(self.source.root)
        found = dict(zip(lost, index.locate([names[n] for n in lost], beside="", split=None), strict=True))
        found = {number: index.narrow(candidates, (0, 0)) for number, candidates in found.items()}
        where = self.source.relative(part.path)
        unclear = [number for number in lost if len(found[number]) > 1]
        self.findings.rows("image-ambiguous", unclear, lambda n: f"{where}: {names[n]} is {' or '.join(found[n])}")
        for number in lost:
            if found[number]:
                files[number] = self.source.root / found[number][0]
            else:
                self.missing.add(files[number])
        moved = sum(len(candidates) == 1 for candidates in found.values())
        if moved:
            words = f"{where}: {moved} images are not where it says ({names[lost[0]]}); found by the end of their path"
            self.findings.add("layout", count=1, message=words)
        return [file for number, file in enumerate(files) if number not in set(unclear)]

    def _label_file(self, image: Path) -> Path:
        """Return the label file of an image.

        It is called like the image, in a folder where the last ``images`` of the path is ``labels``, or beside it. A
        folder above the data set is exchanged only for a file that is there and where none lies beside the image.
        """
        beside = image.with_suffix(".txt")
        exchanged = _exchanged(beside)
        if exchanged is None:
            return beside
        within = image.is_relative_to(self.source.root) and "images" in image.relative_to(self.source.root).parts[:-1]
        first, second = (exchanged, beside) if within else (beside, exchanged)
        return second if not os.path.lexists(first) and os.path.lexists(second) else first


def _listed(bases: Sequence[Path], name: str) -> Path:
    candidates = [base / name.removeprefix("./") for base in bases]
    return next((c for c in candidates if c.is_file()), candidates[-1])


def _exchanged(label: Path) -> Path | None:
    """Return the path with the last folder ``images`` replaced by ``labels``, None if there is none."""
    parts = list(label.parts)
    if "images" not in parts[:-1]:
        return None
    parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts)


def _orphans(part: Part, labels: Sequence[Path], source: DetectionSource, findings: Findings) -> None:
    """Count label files without an image."""
    known = {str(label) for label in labels}
    folders = {label.parent for label in labels} if part.path.is_dir() else set()
    found = (f for folder in sorted(folders) if folder.is_dir() for f in sorted(folder.glob("*.txt")))
    left = [f for f in found if str(f) not in known and f.name.lower() not in _NOT_LABELS]
    findings.rows("annotation-without-image", range(len(left)), lambda n: source.relative(left[n]))
