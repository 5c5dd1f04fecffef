"""Images and masks by their stems: ``images/a.jpg`` + ``masks/a.png``, ``a.jpg`` + ``a_mask.png``, in any folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from densekit.datasets.segmentation.draft import Draft, DraftPair, SegmentationSource
from densekit.datasets.segmentation.findings import Findings
from densekit.datasets.shared.image_files import composed, is_image, list_tree
from densekit.datasets.shared.image_splits import split_of
from densekit.errors import few

Key = tuple[str, str]
"""What an image and its mask have in common: the folders they lie in, and their stem."""

_MASK_WORD = re.compile(
    "masks?|labels?|labelled|labelids|lbl|anns?|annots?|annotations?|gts?|ground|truth|groundtruth|segs?|"
    "segmentations?|semantics?|targets?|segmentationclass"
)
_IMAGE_WORD = re.compile("images?|imgs?|jpe?g|jpegimages|inputs?|photos?|pictures?|rgb")
_MASK_MARK = re.compile(
    r"^(?:masks?|labels?|gt|seg)[-_ ]|[-_ .](?:masks?|labels?|labelids|labeltrainids|lbl|gt|ann|annotations?|seg|"
    r"segmentation|groundtruth|target|l)$",
    re.IGNORECASE,
)
_IMAGE_MARK = re.compile(r"^(?:images?|img)[-_ ]|[-_ .](?:images?|img|sat|rgb|leftimg8bit)$", re.IGNORECASE)


def find(root: Path) -> SegmentationSource | None:
    """Look for masks in folders of their own, or beside their images with a suffix of their own."""
    images, masks = _divided(root)
    if not masks or not images:
        return None
    folders = sorted({file.rpartition("/")[0] or "." for file in masks})
    layout = f"images and masks by their names; masks in {few(folders, 4)}"
    pairs = _matched(images, masks, Findings())
    return SegmentationSource("pairs", root, layout, read, (images, masks)) if pairs else None


def read(source: SegmentationSource) -> Draft:
    """Pair the files."""
    findings = Findings()
    return Draft(_matched(*source.found, findings), None, findings)


def _divided(root: Path) -> tuple[list[str], list[str]]:
    """Return the images and the masks below a folder."""
    files = sorted(name for name in list_tree(root) if is_image(name))
    masks = [file for file in files if any(map(_speaks, file.split("/")[:-1]))]
    if masks:
        taken = set(masks)
        return [file for file in files if file not in taken], masks
    images = {_place(file) for file in files}
    masks = [file for file in files if _MASK_MARK.search(_stem(file)) and _place(file, _MASK_MARK) in images]
    masks += [file for file in files if _MASK_MARK.search(_stem(file)) and _is_beside(file, images)]
    taken = set(masks)
    return [file for file in files if file not in taken], sorted(taken)


def _is_beside(mask: str, places: set[Key]) -> bool:
    """Whether an image whose name is marked as one lies beside a mask (``7_sat.jpg``, ``7_mask.png``)."""
    folder, stem = _place(mask, _MASK_MARK)
    return any((folder, f"{stem}{mark}") in places for mark in ("_sat", "_image", "_img", "_rgb"))


@lru_cache(maxsize=65536)
def _speaks(part: str) -> bool:
    """Whether a folder's name speaks of masks; CamVid's is ``trainannot``."""
    words = re.findall("[a-z]+", part.lower())
    return any(_MASK_WORD.fullmatch(word) or word.endswith("annot") for word in words)


def _stem(file: str) -> str:
    return composed(file.rpartition("/")[2].rpartition(".")[0])


def _place(file: str, mark: re.Pattern | None = None) -> Key:
    """Folders without the words that tell images from masks, and the stem, without a mark."""
    folders = filter(None, map(_bare, composed(file).split("/")[:-1]))
    return "/".join(folders), _stem(file) if mark is None else mark.sub("", _stem(file))


@lru_cache(maxsize=65536)
def _bare(part: str) -> str:
    def left(found: re.Match) -> str:
        word = found[0].lower()
        return "" if _MASK_WORD.fullmatch(word) or _IMAGE_WORD.fullmatch(word) else word.removesuffix("annot")

    return re.sub("[A-Za-z]+", left, part).strip("-_. ")


def _matched(images: list[str], masks: list[str], findings: Findings) -> list[DraftPair]:
    """Pair images and masks of corresponding folders; a mask that no such has, with the only image of its stem."""
    places = {_place(file) for file in images}
    exact = {_place(file) for file in masks}

    def of_mask(file: str) -> Key:
        return place if (place := _place(file)) in places else _place(file, _MASK_MARK)

    def of_image(file: str) -> Key:
        plain, bare = _place(file), _place(file, _IMAGE_MARK)
        return plain if plain in exact or plain == bare or plain in marked else bare

    marked = {_place(file, _MASK_MARK) for file in masks}
    by_stem = defaultdict(set)
    for file in images:
        by_stem[of_image(file)[1]].add(of_image(file))
    known = {key for keys in by_stem.values() for key in keys}

    def elsewhere(file: str) -> Key:
        key = of_mask(file)
        alike = by_stem.get(key[1], ())
        return next(iter(alike)) if key not in known and len(alike) == 1 else key

    return match(images, masks, of_image, elsewhere, findings)


def match(
    images: Iterable[str],
    masks: Iterable[str],
    image_key: Callable[[str], Key],
    mask_key: Callable[[str], Key],
    findings: Findings,
) -> list[DraftPair]:
    """Pair images and masks of one key, and say which have no partner or several.

    Args:
        images: POSIX paths.
        masks: Likewise.
        image_key: Folder and stem of an image.
        mask_key: Those of a mask.
        findings: What is found is added.

    Returns:
        The pairs in the order of the images, with the splits that the folders of the images speak of.
    """
    by_image, by_mask = defaultdict(list), defaultdict(list)
    for file in images:
        by_image[image_key(file)].append(file)
    for file in masks:
        by_mask[mask_key(file)].append(file)
    masked = {folder for folder, _ in by_image.keys() & by_mask.keys()}
    pairs = []
    for key, files in by_image.items():
        found = by_mask.pop(key, [])
        if len(files) > 1 or len(found) > 1:
            findings.add("stem-twice", few(files if len(files) > 1 else found, 3))
        elif found:
            pairs.append(DraftPair(files[0], found[0], split_of(files[0].rpartition("/")[0])))
        else:
            findings.add("mask-missing" if key[0] in masked else "image-without-mask", files[0])
    findings.add("mask-without-image", *(file for files in by_mask.values() for file in files))
    return pairs
