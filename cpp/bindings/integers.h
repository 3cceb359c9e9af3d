// Arrays of integers that say which row or class is meant.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

// A copy as contiguous int64 in memory of its own, where another thread cannot change what has been checked;
// empty with an error set where there is no memory. Unsigned numbers beyond int64 become negative.
Reference copy_integers(PyArrayObject* array);

// Whether the numbers of such an array are in [0, limit).
bool are_below(const Reference& integers, std::int64_t limit);

}  // namespace fastnorm
