// New arrays for results, and parameters in the compute type.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

// A new array like x (same shape, type and order of axes in memory), empty with an error set where there is
// no memory. Large ones come from the cache of results; `warm` tells that their pages have been used before,
// so that they may be written past the cache.
struct NewArray {
    Reference array;
    bool warm = false;
};
NewArray new_like(const Array& x);
// The same with axes of other lengths.
NewArray new_like(const Array& x, const npy_intp* shape);

// A new contiguous array; of the statistics' shape (x without the normalised axes); of the parameters' shape.
Reference new_array(int ndim, const npy_intp* shape, int type_number);
Reference new_statistic(const Array& x, const Axes& axes);
Reference new_parameter_gradient(const Array& x, const Axes& axes);

// `array` as contiguous, aligned memory of a type, itself where it is that; empty with an error set where
// there is no memory.
Reference as_contiguous(const Array& array, int type_number);

// The same in new memory, always.
Reference new_copy(const Array& array, int type_number);
Reference new_copy(const Array& array);

// weight or bias as a contiguous array of the compute type, the array itself where it is one. An empty
// reference with no error set where it is None; `canonical` false where it does not fit.
struct Parameter {
    Reference array;
    bool canonical = true;
    bool failed = false;

    const void* data() const { return array ? PyArray_DATA(array.array()) : nullptr; }
};
Parameter as_parameter(PyObject* slot, const Array& x, const Axes& axes);

// Likewise a vector of a length.
Parameter as_vector(PyObject* slot, const Array& x, npy_intp length);

// A statistic given to a backward, likewise.
Parameter as_statistic(PyObject* slot, const Array& x, const Axes& axes);

}  // namespace fastnorm
