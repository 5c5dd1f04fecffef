#!/usr/bin/env python
"""`densekit test` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
