"""``python -m pyness`` is the command ``pyness``."""

from __future__ import annotations

import sys

from pyness.cli import main

if __name__ == "__main__":
    sys.exit(main())
