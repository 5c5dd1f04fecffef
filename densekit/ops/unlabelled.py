"""The value by which a label map says that nobody labelled a voxel."""

UNLABELLED = 255
"""Losses leave such voxels out. A data set of more than 255 classes cannot have any: there it is a class."""
