"""Results keep their bits from version to version.

The record holds a digest for each op, variant and dtype, over shapes around the blocks of the kernels and
over layouts of memory (`bits/`). It may be recorded again only for a deliberate change of bits, such as
another order of a sum or another polynomial, in the commit that makes the change and names it:
`python tests/record_bits.py --again SUBJECT`. A new op or option needs `python tests/record_bits.py`, which
adds lines and changes none. Both are to be run for a target with fused multiply-add and for one without
(FASTNORM_TARGET).

The bits are those of the native backend: the twins compute with NumPy's functions, which differ from one
NumPy to another. Where `MLP` trains with losses over classes and where Adam corrects its moments, exp, log
and pow of the C library take part.
"""

from __future__ import annotations

import inspect

import bits
import fastnorm
import pytest
from conftest import REFERENCE_ONLY

needs_extension = pytest.mark.skipif(REFERENCE_ONLY, reason="the twins' bits are NumPy's")


@needs_extension
@pytest.mark.parametrize("subject", bits.SUBJECTS)
def test_bits(subject: str) -> None:
    recorded = {label: digest for label, digest in bits.read().items() if label.split(":")[0] == subject}
    with fastnorm.backend("native"):
        found = dict(bits.digests(subject))
    advice = f"record them by python tests/record_bits.py (FASTNORM_TARGET={fastnorm.active_target()})"
    assert not found.keys() - recorded.keys(), f"no record in {bits.RECORD.name}: {advice}"
    assert not recorded.keys() - found.keys(), f"in {bits.RECORD.name}, but no longer run"
    different = [label for label in found if found[label] != recorded[label]]
    assert not different, f"{len(different)} of {len(found)} differ from {bits.RECORD.name}: {different}"


def test_all_that_computes_is_recorded() -> None:
    """Every public function of arrays is an op or one of the parts that are listed here."""
    # The frequencies are NumPy's cosines and sines.
    known = {
        "moments",
        "mlp_forward",
        "pack",
        "rotary_frequencies",
        *(name for name in bits.SUBJECTS if name in fastnorm.__all__),
    }
    for name in fastnorm.__all__:
        function = getattr(fastnorm, name)
        if inspect.isclass(function) or not callable(function) or name.endswith("_backward"):
            continue
        takes = [str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()]
        assert name in known or not any("ArrayLike" in annotation for annotation in takes), name
