#!/usr/bin/env python
"""`densekit prepare` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
