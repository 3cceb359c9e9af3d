// Arguments in new memory, where they do not lie as they are wanted or must not change.
#pragma once

#include "bindings/arguments.h"

namespace fastnorm {

// `array` as contiguous, aligned memory of a type, itself where it is that; empty with an error set where
// there is no memory. A copy may release the GIL: it fixes `array` and `x`, and no other that has been looked
// at.
Reference as_contiguous(Array& array, int type_number, Array& x);

// The same in new memory, always.
Reference new_copy(Array& array, int type_number);
Reference new_copy(Array& array);

// An array of integers as new memory of int64, which no other thread can change once it has been checked.
// Unsigned numbers beyond int64 become negative.
Reference copy_integers(PyArrayObject* array, Array& x);

// Whether the numbers of such a copy are in [0, limit).
bool are_below(const Reference& integers, std::int64_t limit);

}  // namespace fastnorm
