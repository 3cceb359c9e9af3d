// Gated linear units: y = act(gate) up, element by element, and both gradients in one pass:
//
//   dgate = dy up act'(gate)
//   dup   = dy act(gate)
//
// gate and up are two arrays, or halves of one; each is read once, y (dgate and dup) written once. With act
// and act' within a and b ULP, |y - exact| < 2 a + 1/2 ULP (an ULP of act is at most two of the product), dup
// the same, and |dgate - exact| < 2 b + 3/2 ULP as long as dy up, which is formed first, does not overflow or
// lose bits as a subnormal. Half types compute in float and round once.
#pragma once

#include "kernels/loops/elementwise.h"
#include "tasks/gates.h"

FASTNORM_TARGET_BEGIN

template <class T, class Function>
FASTNORM_INLINE void gated(
    const Gate& task, std::int64_t begin, std::int64_t end, void* scratch, Function act
) {
    map<T, 2, 1>(task, begin, end, scratch, [=](auto gate, auto up) FASTNORM_INLINE_LAMBDA {
        return act(gate) * up;
    });
}

template <class T, class Function, class Derivative>
FASTNORM_INLINE void gated_backward(
    const Gate& task, std::int64_t begin, std::int64_t end, void* scratch, Function act, Derivative derivative
) {
    map<T, 3, 2>(task, begin, end, scratch, [=](auto dy, auto gate, auto up) FASTNORM_INLINE_LAMBDA {
        return Both<decltype(dy)>{(dy * up) * derivative(gate), dy * act(gate)};
    });
}

// The kernels <name>_forward and <name>_backward of a gated unit, given act and its derivative as functions
// of a Vec.
#define FASTNORM_GATE(name, act, derivative)                                                             \
    template <class T>                                                                                   \
    void name##_forward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {         \
        gated<T>(task, begin, end, scratch, [](auto gate) FASTNORM_INLINE_LAMBDA { return act(gate); }); \
    }                                                                                                    \
    template <class T>                                                                                   \
    void name##_backward(const Gate& task, std::int64_t begin, std::int64_t end, void* scratch) {        \
        gated_backward<T>(                                                                               \
            task, begin, end, scratch, [](auto gate) FASTNORM_INLINE_LAMBDA { return act(gate); },       \
            [](auto gate) FASTNORM_INLINE_LAMBDA { return derivative(gate); }                            \
        );                                                                                               \
    }

FASTNORM_TARGET_END
