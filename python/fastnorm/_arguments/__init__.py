"""The argument rules of every op: what is taken, what it becomes, and which error says what is wrong.

`<family>.<op>(rules, <arguments in the order of the signature>)` returns the same arguments in canonical form
or raises. Both backends call it, the extension only for arguments that it does not take straight away, so
both give the same errors. Canonical means:

- arrays are exact ndarrays of a supported dtype in native byte order, with any strides and alignment;
- `axis` is an `Axes` of non-negative axes, and weight and bias have their axes in its ascending order;
- numbers are finite floats, flags bools, `stats` arrays of the statistics' shape and dtype;
- `out` can be written, and is exactly one of the inputs or shares memory with none.
"""
