#!/usr/bin/env python
"""`densekit train` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
