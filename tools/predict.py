#!/usr/bin/env python
"""`densekit predict` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
