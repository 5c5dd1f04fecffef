"""A data set of volumes and a config that learns it."""

from ...volume_runs import config, prepared, short_run  # noqa: F401
