"""Volumes in and out: NIfTI, NRRD and MetaImage files, the grid they are on, and outputs that appear by rename."""

from densekit.io.atomic import atomic_path, output_error, write_json_atomic, write_text_atomic
from densekit.io.files import contents, entries, load_json, require_file, sha256
from densekit.io.geometry import Geometry
from densekit.io.volume import (
    VOLUME_SUFFIXES,
    Volume,
    as_volume,
    check_intensities,
    is_array_with_affine,
    read_geometry,
    read_label,
    read_volume,
    volume_stem,
    volume_suffix,
)
from densekit.io.writing import labels_json, to_itk, to_nibabel, write_image, write_label

__all__ = [
    "VOLUME_SUFFIXES",
    "Geometry",
    "Volume",
    "as_volume",
    "atomic_path",
    "check_intensities",
    "contents",
    "entries",
    "is_array_with_affine",
    "labels_json",
    "load_json",
    "output_error",
    "read_geometry",
    "read_label",
    "read_volume",
    "require_file",
    "sha256",
    "to_itk",
    "to_nibabel",
    "volume_stem",
    "volume_suffix",
    "write_image",
    "write_json_atomic",
    "write_label",
    "write_text_atomic",
]
