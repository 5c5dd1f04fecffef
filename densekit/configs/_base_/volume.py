"""Volumes: a config that starts with this is completed with the defaults that `densekit config volume` prints."""

task = "volume"
