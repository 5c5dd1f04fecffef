"""Tiny raw data sets, written with nibabel so that the readers are tested against files they did not write."""

import nibabel as nib
import numpy as np
import pytest

SHAPE = (12, 10, 8)


@pytest.fixture
def put():
    """Return a function that writes a volume: ``put(path, array=None)``; the default is a small image."""

    def write(path, array=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        if array is None:
            array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 3.0, 1.0])), path)
        return path

    return write


@pytest.fixture
def organs():
    """Return a function that gives ``{name: mask}`` as in a patient, for an array whose axes lead to S, P, L."""

    def make(shape=(20, 40, 48)):
        d, h, w = np.indices(shape)
        boxes = {  # ranges along (d, h, w)
            "liver": ((8, 19), (8, 30), (2, 20)),
            "spleen": ((9, 17), (20, 32), (38, 46)),
            "right kidney": ((2, 8), (26, 34), (8, 16)),
            "left kidney": ((3, 9), (26, 34), (32, 40)),
            "gallbladder": ((5, 8), (6, 11), (12, 17)),
            "stomach": ((7, 15), (6, 16), (30, 42)),
            "aorta": ((0, 20), (24, 28), (24, 28)),
            "pancreas": ((6, 9), (16, 20), (20, 34)),
        }
        return {
            name: np.logical_and.reduce(
                [(i >= low) & (i < high) for i, (low, high) in zip((d, h, w), box, strict=True)]
            )
            for name, box in boxes.items()
        }

    return make
