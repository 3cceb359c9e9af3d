"""What ``python -m fastnorm`` says about this machine: every op against its twin, and its speed against
NumPy.

Imported by ``python -m fastnorm`` and by the benchmarks, never by ``import fastnorm``.
"""
