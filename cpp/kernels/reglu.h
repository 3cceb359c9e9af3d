// reglu: y = max(gate, 0) up; dgate = dy up where gate > 0 and else 0, dup = dy max(gate, 0). One rounding each.
#pragma once

#include "kernels/gated.h"

FASTNORM_TARGET_BEGIN

// max returns its second operand for NaN.
template <class V>
FASTNORM_INLINE V positive_part(V x) {
    return max(broadcast<V>(0), x);
}

template <class T>
void reglu_forward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    gated<T>(task, begin, end, scratch, [](auto gate) FASTNORM_INLINE_LAMBDA { return positive_part(gate); });
}

// Where gate is not positive its positive part is the zero, or the NaN, that dgate is.
template <class T>
void reglu_backward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 3, 2>(task, begin, end, scratch, [](auto dy, auto gate, auto up) FASTNORM_INLINE_LAMBDA {
        using V = decltype(dy);
        const V act = positive_part(gate);
        return Both<V>{select(gate > broadcast<V>(0), dy * up, act), dy * act};
    });
}

FASTNORM_TARGET_END
