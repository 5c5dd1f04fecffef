"""``python -m densekit`` is the command line."""

import sys

from densekit.cli import main

sys.exit(main())
