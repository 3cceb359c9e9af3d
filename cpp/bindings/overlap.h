// Whether arrays of one call share memory: what is written must be apart from what is read, or be exactly it.
//
// Judged by first and last bytes, which never misses a shared element; what is not told apart by them is for
// fastnorm._arguments to judge exactly.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

// The bytes from the first that an array may touch up to the last; none where it is empty.
struct Extent {
    const char* begin;
    const char* end;
};
Extent extent_of(const Array& array);
Extent extent_of(PyArrayObject* array);

bool are_apart(Extent a, Extent b);
bool are_apart(const Array& a, const Array& b);

// Whether two arrays are the same elements of memory in the same order.
bool same_elements(const Array& a, const Array& b);

// Whether `out` can take a result like x: same type and shape, writeable, and either exactly one of the
// inputs or apart from all (where `checked`, the latter has been established).
bool is_valid_out(const Array& out, const Array& x, std::initializer_list<PyObject*> inputs, bool checked);

// The same for a result of x's type and another shape.
bool is_valid_out(
    const Array& out, const Array& x, int ndim, const npy_intp* shape,
    std::initializer_list<PyObject*> inputs, bool checked
);

}  // namespace fastnorm
