// Networks as a call is given them.
#pragma once

#include "bindings/dense.h"
#include "plan/network.h"

namespace fastnorm {

// An array seen as (rows, last axis), copied where no two strides describe it.
std::optional<RowMatrix> as_rows(Array& array, Reference& copy);

// False where the arguments are not canonical.
bool as_network(
    const Array& x, PyObject* weights, PyObject* biases, PyObject* activation, PyObject* output_activation,
    Packed packed, Network& network
);

}  // namespace fastnorm
