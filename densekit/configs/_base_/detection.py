"""Detection: a config that starts with this is completed with the defaults that `densekit config detection` prints."""

task = "detection"
