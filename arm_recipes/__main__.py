"""The command, and `python -m arm_recipes`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; Ctrl-C may come while it is imported."""
    try:
        from .cli import group
    except KeyboardInterrupt:
        print("interrupted; no file is left half-written", file=sys.stderr)
        return 130
    return group.main()


if __name__ == "__main__":
    sys.exit(main())
