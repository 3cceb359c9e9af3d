// What the kernels of copies are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// Lines of 64 bytes from one aligned address to another.
constexpr std::int64_t copy_line = 64;
struct Copy {
    const char* source;
    char* target;
};

}  // namespace fastnorm
