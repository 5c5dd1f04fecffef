#!/usr/bin/env python
"""`densekit check` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
