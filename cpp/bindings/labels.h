// What losses over classes have in common: labels, and one number for each row.
#pragma once

#include "bindings/arrays.h"

namespace fastnorm {

// A share in [0, 1], 0 where an op has no such argument; false where it is none.
bool as_share(PyObject* slot, double& value);

// An int that fits, or nothing.
std::optional<std::int64_t> as_class(PyObject* slot);

// Class labels as contiguous int64, -1 for those that are ignored.
struct Labels {
    Reference array;
    bool canonical = true;

    const std::int64_t* data() const { return static_cast<const std::int64_t*>(PyArray_DATA(array.array())); }
};

// Of rows of x, which are its axes but `axes`, among so many classes. An empty array with an error set where
// there is no memory.
Labels as_labels(
    PyObject* slot, Array& x, const Axes& axes, std::int64_t classes, std::optional<std::int64_t> ignored
);

// dloss of every row, of x's type, in the compute type.
Parameter as_row_gradient(PyObject* slot, Array& x, const Axes& axes);

// A new array for the losses of the rows, of x's type.
Reference new_losses(const Array& x, const Axes& axes);

// What a forward returns of them: they themselves, as a scalar where x has the class axis alone, or, where
// they are reduced and there is no such array, the number that they come to. Empty with an error set where
// there is no memory.
Reference loss_result(Reference losses, double reduced, const Array& x);

}  // namespace fastnorm
