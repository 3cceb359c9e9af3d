"""Record the bits of results that have no record yet: `python tests/record_bits.py`.

Lines that exist stay as they are, and differences are told. `--again SUBJECT ...` records subjects anew,
which needs a reason: see test_bits.py. Run it once on a target with fused multiply-add and once on one
without (FASTNORM_TARGET).
"""

from __future__ import annotations

import argparse
import sys

import bits
import fastnorm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--again", nargs="+", default=[], choices=bits.SUBJECTS, metavar="SUBJECT")
    again = set(parser.parse_args().again)
    target = fastnorm.active_target()
    before = bits.read()
    lines = {label: digest for label, digest in before.items() if label.split(":")[0] not in again}
    different = 0
    for subject in bits.SUBJECTS:
        for label, digest in bits.digests(subject):
            if lines.setdefault(label, digest) != digest:
                print(f"differs: {label}: {digest}, recorded {lines[label]}")
                different += 1
    bits.write(lines)
    print(f"{bits.RECORD}: {len(lines) - len(before)} lines more, {different} differ on {target}")
    return min(different, 1)


if __name__ == "__main__":
    sys.exit(main())
