// reglu: y = max(gate, 0) up; dgate = dy up where gate > 0 and else 0, dup = dy max(gate, 0). One rounding
// each.
#pragma once

#include "kernels/gates/gating.h"
#include "kernels/activations/relu.h"

FASTNORM_TARGET_BEGIN

template <class T>
void reglu_forward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    gated<T>(task, begin, end, scratch, [](auto gate) FASTNORM_INLINE_LAMBDA { return relu(gate); });
}

template <class T>
void reglu_backward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 3, 2>(task, begin, end, scratch, [](auto dy, auto gate, auto up) FASTNORM_INLINE_LAMBDA {
        return Both<decltype(dy)>{relu_gradient(dy * up, gate), dy * relu(gate)};
    });
}

FASTNORM_TARGET_END
