"""Volumes: raw layouts are prepared into one on-disk form (:mod:`~densekit.datasets.volume.store`) and read as samples.

Nothing is imported from here: whether a path holds volumes is asked of every data set, before torch is needed.
"""
