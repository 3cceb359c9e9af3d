"""Test errors in percent that others report for 1,000 training questions a task, tasks 1 to 20.

The paper's are the best of ten trainings by training error (Sukhbaatar et al., arXiv:1503.08895, Table 1);
the rerun is that of vinhkhuc/MemN2N-babi-python, a NumPy port of the authors' code. All are on the public
data set.
"""

from __future__ import annotations


def _row(errors: str) -> tuple[float, ...]:
    row = tuple(map(float, errors.split()))
    assert len(row) == 20
    return row


# (variant, hops, joint) -> errors
PAPER: dict[tuple[str, int, bool], tuple[float, ...]] = {
    ("BoW", 3, False): _row(
        ".6 17.6 71.0 32.0 18.3 8.7 23.5 11.4 21.1 22.8 4.1 .3 10.5 1.3 24.3 52.0 45.4 48.1 89.7 .1"
    ),
    ("PE", 3, False): _row(
        ".1 21.6 64.2 3.8 14.1 7.9 21.6 12.6 23.3 17.4 4.3 .3 9.9 1.8 0 52.1 50.1 13.6 87.4 0"
    ),
    ("PE+LS", 3, False): _row(
        ".2 12.8 58.8 11.6 15.7 8.7 20.3 12.7 17.0 18.6 0 .1 .3 2.0 0 1.6 49.0 10.1 85.6 0"
    ),
    ("PE+LS+RN", 3, False): _row(
        "0 8.3 40.3 2.8 13.1 7.6 17.3 10.0 13.2 15.1 .9 .2 .4 1.7 0 1.3 51.0 11.1 82.8 0"
    ),
    ("PE+LS", 1, True): _row(
        ".8 62.0 76.9 22.8 11.0 7.2 15.9 13.2 5.1 10.6 8.4 .4 6.3 36.9 46.4 47.4 44.4 9.6 90.7 0"
    ),
    ("PE+LS", 2, True): _row(
        "0 15.6 31.6 2.2 13.4 2.3 25.4 11.7 2.0 5.0 1.2 0 .2 8.1 .5 51.3 41.2 10.3 89.9 .1"
    ),
    ("PE+LS", 3, True): _row(
        ".1 14.0 33.1 5.7 14.8 3.3 17.9 10.1 3.1 6.6 .9 .3 1.4 8.2 0 3.5 44.5 9.2 90.2 0"
    ),
    ("PE+LS+RN", 3, True): _row(
        "0 11.4 21.9 13.4 14.4 2.8 18.3 9.3 1.9 6.5 .3 .1 .2 6.9 0 2.7 40.4 9.4 88.0 0"
    ),
    ("PE+LS+LW", 3, True): _row(
        ".1 18.8 31.7 17.5 12.9 2.0 10.1 6.1 1.5 2.6 3.3 0 .5 2.0 1.8 51.0 42.6 9.2 90.6 .2"
    ),
}

# joint -> errors of PE+LS+RN with three hops, trained with the NumPy port
RERUN: dict[bool, tuple[float, ...]] = {
    False: _row(".5 8.9 41.4 7.3 12.2 7.7 19.8 12.9 13.9 18.9 .5 .2 .9 9.0 0 .6 49.1 10.4 90.8 0"),
    True: _row(".1 16.6 26.3 11.3 14.4 2.8 16.0 10.1 2.3 6.5 1.2 .2 .5 5.5 .3 2.1 42.6 9.0 90.2 .2"),
}
