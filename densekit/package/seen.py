"""Which cases a checkpoint was trained on, by hashes of what they show, and whether others are among them.

Splits and folds lie beside the data and change; a case keeps its hash whatever split, folder or settings it is prepared
with.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import SEEK_END
from pathlib import Path

from densekit.datasets.shared.similar import HASH, look_hash, near
from densekit.errors import CheckpointError, few
from densekit.package.checkpoint import Checkpoint, load_checkpoint
from densekit.progress import told

TRAINED_ON = "trained_on"
"""The key of a checkpoint's ``meta`` that lists the hashes."""
LOOKS = "training_looks"
"""The key of a checkpoint's ``meta`` that holds what images look like, see :func:`pack`."""
_BYTES = 4_000_000_000
"""Bytes of all image files together up to which each is looked at; of more an even share, it takes minutes else."""
_SHOWN = 4
_READ = 16_384


def image_hashes(files: Iterable[str], root: Path) -> dict[str, str]:
    """A hash of each image, by its file below ``root``: of its size and what lies in the middle of the file.

    Reading all of each would take as long as an epoch. A file that cannot be read has none.
    """
    files, hashes = list(files), {}
    for file in told(files, len(files), "images hashed"):
        with suppress(OSError), (root / file).open("rb") as opened:
            size = opened.seek(0, SEEK_END)
            opened.seek(max(0, size // 2 - _READ // 2))
            hashes[str(file)] = hashlib.blake2b(opened.read(_READ) + b"%d" % size, digest_size=8).hexdigest()
    return hashes


def looks(files: Iterable[str], root: Path) -> dict[str, bytes]:
    """What images look like, by their file below ``root``; nothing of one that is of one colour or cannot be read.

    Of more than :data:`_BYTES` every second, third ... image is looked at.
    """
    sizes = {}
    for file in sorted(set(files)):
        with suppress(OSError):
            sizes[str(file)] = (root / file).stat().st_size
    chosen = list(sizes)[:: max(1, -(-sum(sizes.values()) // _BYTES))]
    with ThreadPoolExecutor(4) as pool:
        found = told(pool.map(look_hash, (root / file for file in chosen)), len(chosen), "images noted by their looks")
        return {file: look for file, look in zip(chosen, found, strict=True) if look is not None}


def pack(found: Mapping[str, bytes]) -> str:
    """What a checkpoint keeps of :func:`looks`: 16 characters an image."""
    return base64.b64encode(b"".join(sorted(set(found.values())))).decode()


def look_alikes(packed: str, cases: Mapping[str, bytes], split: str, source: str | Path) -> list[str]:
    """Say which images of a split that is to be scored look like training images: the same ones, saved anew.

    Args:
        packed: Of :func:`pack`; empty where a checkpoint does not say.
        cases: Of :func:`looks`, without the images that are known to be trained on.
        split: Their split.
        source: The checkpoint.
    """
    content = base64.b64decode(packed)
    trained = [content[i : i + HASH] for i in range(0, len(content), HASH)]
    same = near(list(cases.values()), trained) if trained else ()
    known = [name for name, is_near in zip(cases, same, strict=bool(trained)) if is_near]
    if not known:
        return []
    return [
        f"{len(known)} of the {len(cases)} images of {split} that can be compared look like a training image of "
        f"{source} ({few(known, 3)}): if they are the same, scores on them say nothing about new images"
    ]


def trained_on(checkpoint: str | Path | Checkpoint) -> frozenset[str]:
    """The hashes of the cases that a checkpoint was trained on; none for weights that do not say."""
    try:
        return frozenset(load_checkpoint(checkpoint).meta.get(TRAINED_ON, ()))
    except CheckpointError:  # weights of another program; whoever loads them says what is wrong with them
        return frozenset()


def leak(seen: frozenset[str], cases: Mapping[str, str], split: str, source: str | Path) -> list[str]:
    """Say which cases of a split that is to be scored were trained on.

    Args:
        seen: Of :func:`trained_on`.
        cases: Hash by name.
        split: Their split.
        source: The checkpoint.
    """
    known = [name for name, found in cases.items() if found in seen]
    if not known:
        return []
    return [
        f"{len(known)} of the {len(cases)} cases of {split} were trained on by {source} ({few(known, _SHOWN)}): scores "
        f"on them say nothing about new cases; score on others"
    ]


def changed(seen: frozenset[str], cases: Mapping[str, str], split: str) -> list[str]:
    """Say how the training cases of a run that goes on differ from those it was started with."""
    now = frozenset(cases.values())
    if not seen or not now or seen == now:
        return []
    new = [name for name, found in cases.items() if found not in seen]
    said = f"{len(new)} are new ({few(new, _SHOWN)})" if new else "none is new"
    return [f"changed since the run was started: of the cases of {split} {said}, {len(seen - now)} are gone"]
