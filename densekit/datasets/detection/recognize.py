"""Which layout a data set has: found out from what lies there."""

from __future__ import annotations

from pathlib import Path

from densekit.datasets.detection import coco_files, masks, voc, yolo
from densekit.datasets.detection.draft import DetectionSource
from densekit.datasets.shared.image_files import only_folders
from densekit.errors import ConfigError, DataError
from densekit.io.files import contents

FORMATS = {
    "coco": coco_files.find,
    "yolo": yolo.find,
    "voc": voc.find,
    "masks": masks.find,
}
LOOKED_FOR = (
    "COCO (annotations/instances_*.json, one JSON beside the images, or train/_annotations.coco.json), "
    "YOLO (data.yaml, or images + labels folders with classes.txt), "
    "Pascal VOC (Annotations/*.xml with ImageSets/Main, or XML beside the images) and "
    "mask folders (<id>/images/*.png + <id>/masks/*.png)"
)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def recognize(path: str | Path, *, format: str | None = None) -> DetectionSource:
    """Find out how a detection data set is laid out. Only names and the beginnings of files are looked at.

    Args:
        path: Folder of the data set, a COCO JSON, or a data.yaml. A folder that holds nothing but one other folder
            (an archive unpacked into a folder of its own) is looked through.
        format: ``"coco"``, ``"yolo"``, ``"voc"`` or ``"masks"``, to look for this one only.

    Raises:
        DataError: if nothing is found (with what was looked for and what is there) or more than one layout is.
        ConfigError: if there is no such format.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format={format!r}: expected one of {', '.join(FORMATS)}")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    path = path.resolve()
    if path.is_file():
        return _recognize_file(path)
    for folder in (path, *only_folders(path)):
        found = [source for source in _look(folder, format) if source is not None]
        if len(found) > 1:
            layouts = "; and ".join(source.layout for source in found)
            files = " or ".join(_file_of(source) for source in found)
            raise DataError(f"{folder}: could be read in more than one way ({layouts}); say which with {files}")
        if found:
            return found[0]
    if (why := coco_files.unreadable(path)) and format in (None, "coco"):
        raise DataError(why)
    looked = LOOKED_FOR if format is None else format
    raise DataError(
        f"{path}: no detection data set was found; looked for {looked}; {path.name} {contents(path)}{_hint(path)}"
    )


def _look(folder: Path, format: str | None) -> list[DetectionSource | None]:
    return [find(folder) for name, find in FORMATS.items() if format in (None, name)]


def _file_of(source: DetectionSource) -> str:
    if source.format == "coco":
        return f"the path of {source.relative(source.parts[0].path)}"
    if source.format == "yolo" and source.names_from is not None and source.names_from.suffix in (".yaml", ".yml"):
        return f"the path of {source.relative(source.names_from)}"
    return f"format={source.format}"


def _recognize_file(path: Path) -> DetectionSource:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        raise DataError(f"{path}: is an archive; unpack it and give the folder")
    source = None
    if suffix == ".json":
        source = coco_files.find_file(path)
    elif suffix in (".yaml", ".yml"):
        source = yolo.find_file(path)
    if source is None:
        raise DataError(f"{path}: is neither a COCO JSON (images, annotations, categories) nor a data.yaml with names")
    return source


def _hint(path: Path) -> str:
    """Say what else it might be."""
    several = [f for f in path.iterdir() if (f / "images").is_dir() and (f / "masks").is_dir()]
    if several:
        return (
            f"; {several[0].name} has several images and masks: these are semantic masks (one per image, not one per "
            f"object), which a detector cannot be trained on"
        )
    if (path / "dataset.json").is_file() and (path / "cases").is_dir():
        return "; this is a prepared folder of volumes"
    return ""
