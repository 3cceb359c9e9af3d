// A packed weight as a Python object: the type PackedWeight, which fastnorm.PackedWeight extends.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

// The weight of a slot that holds one which products can read; such an array has no strides, and MatrixView
// takes it for what it is.
MaybeArray as_packed_weight(PyObject* slot);

// Adds the type to the module; false with an error set.
bool register_packed_weight_type(PyObject* module);

}  // namespace fastnorm
