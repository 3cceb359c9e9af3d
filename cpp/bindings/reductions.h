// How the losses of a call become its result.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

enum class Reduction { mean, sum, none };

std::optional<Reduction> as_reduction(PyObject* slot);

// The default of the argument `reduction`.
PyObject* reduction_name(const char* name);

// A NumPy scalar of a type.
PyObject* new_scalar(double value, Element element);

}  // namespace fastnorm
