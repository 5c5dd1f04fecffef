"""A data set of volumes and a config that learns it."""

from ...volume_runs import config, prepared  # noqa: F401
