// How the losses of a call become its result.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

enum class Reduction { mean, sum, none };

std::optional<Reduction> as_reduction(PyObject* slot);

// The default of the argument `reduction`.
PyObject* reduction_name(const char* name);

// The sum in an order that depends on the count alone.
double sum_of(const double* values, std::int64_t count);

// A NumPy scalar of x's type.
PyObject* new_scalar(double value, const Array& x);

}  // namespace fastnorm
