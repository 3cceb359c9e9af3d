#pragma once

#include "bindings/numpy.h"

namespace fastnorm {

// Threads, targets, memory: the functions behind fastnorm.runtime. False with a Python error.
bool register_runtime(PyObject* module);

}  // namespace fastnorm
