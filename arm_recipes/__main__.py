"""python -m arm_recipes"""

from __future__ import annotations

import sys

from .cli.group import main

if __name__ == "__main__":
    sys.exit(main())
