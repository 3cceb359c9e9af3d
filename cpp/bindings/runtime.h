#pragma once

#include <pybind11/pybind11.h>

namespace fastnorm {

// Threads, targets, memory: the functions behind fastnorm.runtime.
void register_runtime(pybind11::module_& m);

}  // namespace fastnorm
