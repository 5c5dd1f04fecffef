"""Columns beside a COCO JSON: the same objects, mapped from a file, so that every process opens them at once.

The file (``train.columns`` beside ``train.json``) is in the format of safetensors: eight bytes with the length of a
JSON header, the header with type, shape and place of each array, the arrays. It carries size and time of the JSON it
was made from; where they are not those of the JSON, or the file is damaged, the JSON is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from densekit.io.atomic import atomic_path
from densekit.io.files import load_json
from densekit.structures.coco import from_coco
from densekit.structures.detections import Detections, Images
from densekit.structures.packed import Packed

_VERSION = "1"
_ARRAYS = ("image_index", "labels", "xywh", "crowd", "ignore", "areas", "origin")
_PACKED = ("masks", "files")
_TYPES = {"I64": np.int64, "F64": np.float64, "BOOL": bool, "U8": np.uint8}


def columns_path(annotations: Path) -> Path:
    """Return the file of columns that belongs to a COCO JSON."""
    return annotations.with_suffix(".columns")


def open_coco(annotations: Path, *, masks: bool = True) -> Detections:
    """Return the objects of a COCO JSON, from the columns beside it if they are current.

    Images are in the order of the file, objects image by image.

    Args:
        annotations: The JSON.
        masks: Whether to keep the outlines.

    Raises:
        DataError: if the JSON has to be read and cannot be, or is not sound.
    """
    found = _mapped(annotations)
    if found is None:
        return from_coco(load_json(annotations), str(annotations), masks=masks)
    return found


def are_current(annotations: Path) -> bool:
    """Whether there are columns beside a COCO JSON that can be used in its place."""
    return _mapped(annotations) is not None


def write_columns(annotations: Path, objects: Detections | None = None) -> None:
    """Write the columns of a COCO JSON beside it, by rename.

    Args:
        annotations: The JSON; image and annotation ids are whole numbers.
        objects: Its objects; None: they are read from it.

    Raises:
        OutputError: if the file cannot be written.
    """
    from safetensors.numpy import save_file

    objects = from_coco(load_json(annotations), str(annotations)) if objects is None else objects.by_image()
    arrays = {name: np.ascontiguousarray(getattr(objects, name)) for name in _ARRAYS}
    arrays |= {"ids": np.array(objects.images.ids, dtype=np.int64), "sizes": objects.images.sizes}
    for name, values in (("masks", objects.masks), ("files", objects.images.files)):
        packed = Packed.of(values)
        arrays |= {f"{name}.text": packed.text, f"{name}.ends": packed.ends}
    facts = {"names": objects.names, "category_ids": objects.category_ids}
    facts = {"version": _VERSION, "json": _stamp(annotations), **{k: json.dumps(v) for k, v in facts.items()}}
    with atomic_path(columns_path(annotations)) as temporary:
        save_file(arrays, temporary, metadata=facts)


def _stamp(annotations: Path) -> str:
    """Return what changes when the JSON is written anew."""
    found = annotations.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _mapped(annotations: Path) -> Detections | None:
    """Return the objects in the columns, None if there are none, or they are of another JSON or damaged."""
    try:
        facts, arrays = _map(columns_path(annotations))
        if (facts["version"], facts["json"]) != (_VERSION, _stamp(annotations)):
            return None
        packed = {name: Packed.between(arrays[f"{name}.text"], arrays[f"{name}.ends"]) for name in _PACKED}
        images = Images(tuple(arrays["ids"].tolist()), packed["files"], arrays["sizes"])
        found = Detections(
            **{name: arrays[name] for name in _ARRAYS},
            masks=packed["masks"],
            images=images,
            names=tuple(json.loads(facts["names"])),
            category_ids=tuple(json.loads(facts["category_ids"])),
            where=str(annotations),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    sound = len(images.files) == len(images.sizes) == len(images) and _places(found.image_index, len(images))
    return found if sound and _places(found.labels, len(found.names)) else None


def _places(values: np.ndarray, count: int) -> bool:
    return not len(values) or (values.min() >= 0 and values.max() < count)


def _map(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the facts in a file's header, and its arrays, which are read where they are looked at."""
    content = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    begin = 8 + int(content[:8].view("<u8")[0])
    header: dict[str, Any] = json.loads(content[8:begin].tobytes())
    facts = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        first, last = (begin + offset for offset in entry["data_offsets"])
        if last > len(content):
            raise ValueError(f"{path}: ends before {name} does")
        arrays[name] = content[first:last].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return facts, arrays
