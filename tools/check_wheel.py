"""Check wheels: their size, that nothing is bundled, and that nothing is missing."""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from pathlib import Path

MOST_BYTES = 2_300_000  # of a wheel (docs/decisions.md)
EXTENSION = re.compile(r"fastnorm/_core\.[^/]+\.(so|pyd)")
NEEDED = {"fastnorm/__init__.py", "fastnorm/_core.pyi", "fastnorm/py.typed"}


def faults(wheel: Path) -> list[str]:
    """Return what is wrong with the wheel."""
    names = set(zipfile.ZipFile(wheel).namelist())
    extensions = [name for name in names if EXTENSION.fullmatch(name)]
    foreign = [name for name in names if re.fullmatch(r".*\.(so|pyd|dll|dylib)(\.[0-9.]+)?", name)]
    found = []
    if wheel.stat().st_size >= MOST_BYTES:
        found.append(f"has {wheel.stat().st_size} bytes, needs fewer than {MOST_BYTES}")
    if len(extensions) != 1:
        found.append(f"has the extensions {extensions}, needs one")
    if sorted(foreign) != sorted(extensions):
        found.append(f"bundles {sorted(set(foreign) - set(extensions))}")
    if missing := NEEDED - names:
        found.append(f"lacks {sorted(missing)}")
    return found


def main() -> int:
    """Check the wheels that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="+", type=Path)
    bad = 0
    for wheel in parser.parse_args().wheels:
        found = faults(wheel)
        bad += bool(found)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {'; '.join(found) or 'all right'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
