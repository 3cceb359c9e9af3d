// A copy past the caches: the speed of memory, against which the other kernels are measured.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

// source and target aligned to 64 bytes, `bytes` a multiple of 64.
FASTNORM_INLINE void copy(const char* source, char* target, std::int64_t bytes) {
    using V = Vec<float, 16>;
    for (std::int64_t i = 0; i < bytes; i += 64) {
        stream(reinterpret_cast<float*>(target + i), load<V>(reinterpret_cast<const float*>(source + i)));
    }
}

FASTNORM_TARGET_END
