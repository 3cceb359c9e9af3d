// What the kernel of rotary_embedding is given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// The first `pairs` pairs of each row of x, of neighbours or else of columns i and i + pairs, turned by the
// angles whose cosines and sines stand at the row's place in two tables of the compute type that lie alike;
// sines count times `direction`, 1 or -1. Columns after the pairs are copied.
struct Rotation {
    Rows shape;
    Operand x, y;
    const char* cosines;
    const char* sines;
    const std::int64_t* table_stride;  // bytes along the outer axes
    std::int64_t pairs;
    double direction;
    bool neighbours;
    bool stream;  // write y past the caches
};

}  // namespace fastnorm
