#!/usr/bin/env python
"""`densekit config` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["config", *sys.argv[1:]]))
