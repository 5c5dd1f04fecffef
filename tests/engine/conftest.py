"""Runs on volumes, by which the engine is tested."""

from ..volume_runs import config, no_curves, one_thread, prepared, short_run, trained  # noqa: F401
