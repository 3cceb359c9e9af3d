// A copy past the caches: the speed of memory, against which the other kernels are measured.
#pragma once

#include "simd/rows.h"
#include "tasks/copies.h"

FASTNORM_TARGET_BEGIN

// Lines [begin, end), whatever the elements are.
template <class T>
void copy(const Copy& task, std::int64_t begin, std::int64_t end, void*) {
    using V = Vec<float, 16>;
    for (std::int64_t i = begin * copy_line; i < end * copy_line; i += copy_line) {
        stream(
            reinterpret_cast<float*>(task.target + i),
            load<V>(reinterpret_cast<const float*>(task.source + i))
        );
    }
}

FASTNORM_TARGET_END
