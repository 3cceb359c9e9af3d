// New arrays for results, and parameters in the compute type.
#pragma once

#include "bindings/copies.h"

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
// A contiguous one of any shape and type that is written while x is read.
NewArray new_beside(const Array& x, int ndim, const npy_intp* shape, Element element);

// While it lives, the first new_like() of this thread that makes an array of just this type, shape and layout
// gives this one, which is written whole by then. Null: none does.
class Destination {
public:
    explicit Destination(PyArrayObject* array) noexcept;
    ~Destination();
    Destination(const Destination&) = delete;
    Destination& operator=(const Destination&) = delete;

private:
    PyArrayObject* before_;
};

// A new contiguous array; of the statistics' shape (x without the normalised axes); of the parameters' shape.
Reference new_array(int ndim, const npy_intp* shape, int type_number);
Reference new_statistic(const Array& x, const Axes& axes);
Reference new_parameter_gradient(const Array& x, const Axes& axes);

// A copy of what follows fixes x (bindings/copies.h).

// weight or bias as a contiguous array of the compute type, the array itself where it is one. An empty
// reference with no error set where it is None; `canonical` false where it does not fit.
struct Parameter {
    Reference array;
    bool canonical = true;
    bool failed = false;

    const void* data() const { return array ? PyArray_DATA(array.array()) : nullptr; }
};
Parameter as_parameter(PyObject* slot, Array& x, const Axes& axes);

// weight + offset, where there is a weight: a new array of x's shape along the axes, whose sums are rounded
// once to the compute type. False with an error set where there is no memory.
bool add_offset(Parameter& weight, double offset, Array& x, const Axes& axes);

// A parameter that is a vector as long as a weight has columns; a copy fixes the weight too.
Parameter as_vector(PyObject* slot, Array& x, Array& weight);

// A statistic given to a backward, likewise.
Parameter as_statistic(PyObject* slot, Array& x, const Axes& axes);

}  // namespace fastnorm
