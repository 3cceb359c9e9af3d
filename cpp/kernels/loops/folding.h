// How many terms are added up in the compute type before their sum is folded into a double.
#pragma once

#include "simd/rows.h"
#include "tasks/arrays.h"

FASTNORM_TARGET_BEGIN

// Down the rows, one after the other: they err by at most fold_rows * 2^-24 of the sum of magnitudes,
// typically 6 * 2^-24.
constexpr int fold_rows = 2 * tile_rows;

// Along a row, in row_lanes lanes. Exponentials and what they are multiplied by: eight terms a lane as a
// tree, whose three roundings err by at most 3 * 2^-24 of the sum of magnitudes (a chain of 16 by 15 * 2^-24:
// a row of softmax whose lanes are each 1 and many terms that vanish beside it then errs by 15 ULP). 512 x
// 768 of softmax takes 5 to 8 % longer with four terms (one Zen 4 core).
constexpr std::int64_t columns_together = 8 * row_lanes;
// The 32 products that the gradient of a norm is made of err by at most 32 * 2^-24 relative to the sum of
// magnitudes, typically 3 * 2^-24.
constexpr std::int64_t products_together = 32 * row_lanes;

template <class V>
FASTNORM_INLINE double sum_in_double(V v) {
    if constexpr (sizeof(element_t<V>) == 8) {
        return sum(v);
    } else {
        return sum(to_double(v));
    }
}

FASTNORM_TARGET_END
