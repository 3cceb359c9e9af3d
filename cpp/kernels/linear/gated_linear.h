// gated_linear: y = gate(g) u, g = x w_gate + b_gate, u = x w_up + b_up. Backward, g and u being computed
// again:
//   dg = dy u gate'(g),  du = dy gate(g),  dx = dg w_gate^T + du w_up^T,  parameters as in linear.h
//
// Each is a matrix product: gate(g) with Finish::activate; y, dy u and du with Finish::multiply by gate(g) or
// dy; dg with Finish::gradient, whose `other` is dy u; the second term of dx with Finish::add of the first.
#pragma once

#include "simd/rows.h"

FASTNORM_TARGET_BEGIN

// Finish::multiply or Finish::add: c = c * with, or c + with.
template <class C>
FASTNORM_INLINE void combine_columns(C* c, const C* with, std::int64_t cols, bool multiplies) {
    using V = Vec<C, native<C>>;
    for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
        const V value = load_columns<V>(static_cast<const C*>(c) + j, part);
        const V w = load_columns<V>(with + j, part);
        store_columns(c + j, multiplies ? value * w : value + w, part);
    });
}

FASTNORM_TARGET_END
