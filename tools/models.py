#!/usr/bin/env python
"""`densekit models` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["models", *sys.argv[1:]]))
