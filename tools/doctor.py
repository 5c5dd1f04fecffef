#!/usr/bin/env python
"""`densekit doctor` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
