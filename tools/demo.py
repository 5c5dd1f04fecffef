#!/usr/bin/env python
"""`densekit demo` as a script."""

import sys

from densekit.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
