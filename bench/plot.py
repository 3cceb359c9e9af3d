"""Draw the picture of the README from a summary: bytes a second over the size of the array, a panel for each
workload in it.

::

    pytest bench --summary NAME
    python bench/plot.py bench/results/NAME.json docs/speed.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fastnorm._report.picture import draw


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("summary", type=Path, help="what --summary or --save has written")
    parser.add_argument("picture", type=Path, help="file to write, .svg or .png")
    parser.add_argument("--threads", type=int, help="thread count to show (default: the largest)")
    options = parser.parse_args(arguments)
    draw(json.loads(options.summary.read_text(encoding="utf-8")), options.picture, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
