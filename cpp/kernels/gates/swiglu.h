// swiglu: y = swish(gate) up, swish(x) = x sigmoid(beta x); silu where beta is 1.
#pragma once

#include "kernels/gates/gating.h"
#include "kernels/activations/silu.h"
#include "kernels/activations/swish.h"

FASTNORM_TARGET_BEGIN

FASTNORM_GATE(swiglu, silu, silu_derivative)

// The same with beta.
template <class T>
void swiglu_beta_forward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    gated<T>(task, begin, end, scratch, [&](auto gate) FASTNORM_INLINE_LAMBDA {
        return swish(gate, broadcast<decltype(gate)>(element_t<decltype(gate)>(task.beta)));
    });
}
template <class T>
void swiglu_beta_backward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {
    gated_backward<T>(
        task, begin, end, scratch,
        [&](auto gate) FASTNORM_INLINE_LAMBDA {
            return swish(gate, broadcast<decltype(gate)>(element_t<decltype(gate)>(task.beta)));
        },
        [&](auto gate) FASTNORM_INLINE_LAMBDA {
            return swish_derivative(gate, broadcast<decltype(gate)>(element_t<decltype(gate)>(task.beta)));
        }
    );
}

FASTNORM_TARGET_END
