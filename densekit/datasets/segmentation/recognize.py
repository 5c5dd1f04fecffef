"""Which layout a data set of label images has: found out from what lies there."""

from __future__ import annotations

from pathlib import Path

from densekit.datasets.segmentation import (
    ade20k,
    cityscapes,
    coco_polygons,
    coco_stuff,
    cvat,
    labelme,
    loveda,
    objects,
    pairs,
    supervisely,
    voc,
)
from densekit.datasets.segmentation.draft import SegmentationSource
from densekit.datasets.shared.image_files import only_folders
from densekit.errors import ConfigError, DataError
from densekit.io.files import contents

PUBLIC = {
    "ade20k": ade20k.find,
    "cityscapes": cityscapes.find,
    "coco_stuff": coco_stuff.find,
    "voc": voc.find_voc,
    "cvat_masks": voc.find_cvat,
    "context": voc.find_context,
    "loveda": loveda.find,
}
"""Data sets that are known by name, each with what finds it: what looks like one is one."""
OWN = {
    "supervisely": supervisely.find,
    "cvat": cvat.find,
    "labelme": labelme.find,
    "coco": coco_polygons.find,
    "objects": objects.find,
    "pairs": pairs.find,
}
"""Forms that anybody's data have."""
FORMATS = {**PUBLIC, **OWN}


def recognize(path: str | Path, *, format: str | None = None) -> SegmentationSource:
    """Find out how a data set is laid out.

    Args:
        path: Folder of the data set; one that holds nothing but one other folder is looked through.
        format: One of :data:`FORMATS`, to look for this one only.

    Raises:
        DataError: if nothing is found (with what was looked for and what is there) or more than one layout is.
        ConfigError: if there is no such format.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format={format!r}: expected one of {', '.join(FORMATS)}")
    path = Path(path).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{path}: {'is a file, not a' if path.exists() else 'no such'} folder; give the data set's folder"
        )
    path = path.resolve()
    for folder in (path, *only_folders(path)):
        for formats in (PUBLIC, OWN):
            asked = [find for name, find in formats.items() if format in (None, name)]
            found = [source for source in (find(folder) for find in asked) if source is not None]
            if len(found) > 1:
                layouts = "; and ".join(source.layout for source in found)
                ways = " or ".join(f"data_format={source.format}" for source in found)
                raise DataError(
                    f"{folder}: could be read in more than one way ({layouts}); say which with {ways} in the config, "
                    f"or `densekit check --format`"
                )
            if found:
                return found[0]
    looked = format or f"{', '.join(FORMATS)}: images and masks of one stem in folders such as images and masks"
    raise DataError(f"{path}: no images with masks were found; looked for {looked}; {path.name} {contents(path)}")


def looks_like_segmentation(path: Path) -> bool:
    """Whether a folder is a data set of label images, and none of boxes: one that can be both is left to detection."""
    if not path.is_dir():
        return False
    for folder in (path, *only_folders(path)):
        boxes = (folder / "ImageSets" / "Main").is_dir()  # of Pascal VOC
        if any(find(folder) for name, find in PUBLIC.items() if name != "voc" or not boxes):
            return True
        try:
            boxes = boxes or coco_polygons.find(folder) is not None
        except DataError:
            boxes = True  # what is wrong with them is said where they are read
        if not boxes and any(find(folder) for name, find in OWN.items() if name not in ("coco", "objects")):
            return True
    return False
