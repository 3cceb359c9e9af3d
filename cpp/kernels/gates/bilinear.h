// bilinear: y = gate up; dgate = dy up, dup = dy gate. One rounding each.
#pragma once

#include "kernels/gates/gating.h"

FASTNORM_TARGET_BEGIN

template <class T>
void bilinear_forward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    gated<T>(task, begin, end, scratch, [](auto gate) FASTNORM_INLINE_LAMBDA { return gate; });
}

template <class T>
void bilinear_backward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 3, 2>(task, begin, end, scratch, [](auto dy, auto gate, auto up) FASTNORM_INLINE_LAMBDA {
        return Both<decltype(dy)>{dy * up, dy * gate};
    });
}

FASTNORM_TARGET_END
