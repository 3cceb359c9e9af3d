// From scores to weights: what a tile of queries and a single one share.
#pragma once

#include "kernels/attention/masks.h"
#include "simd/math.h"

FASTNORM_TARGET_BEGIN

constexpr int weight_lanes = 16;

template <class V>
using Doubles = Vec<double, lane_count<V>>;
template <class V>
FASTNORM_INLINE V rounded(Doubles<V> v) {
    if constexpr (sizeof(element_t<V>) == 8) {
        return v;
    } else {
        return to_float(v);
    }
}

// exp(x) for x <= 0, and 0 where that is subnormal: beside the largest weight, 1, it counts for nothing, and
// a subnormal result can take a processor a hundred cycles and more, which every excluded slot would cost.
template <class V>
FASTNORM_MATH V weight_of(V x) {
    const V least = broadcast<V>(sizeof(element_t<V>) == 4 ? element_t<V>(-87) : element_t<V>(-708));
    const auto e = exponential(x);
    return scale_or_zero(x < least, broadcast<V>(1) + e.s, e.n);
}

// The sum of term(j) over j < count in the canonical order.
template <class V, class Term>
FASTNORM_INLINE V sum_of_block(std::int64_t count, Term term) {
    V sums[weight_lanes];
    for (int lane = 0; lane < weight_lanes; ++lane) {
        sums[lane] = broadcast<V>(0);
        for (std::int64_t j = lane; j < count; j += weight_lanes) sums[lane] = sums[lane] + term(j);
    }
    for (int half = weight_lanes / 2; half > 0; half /= 2) {
        for (int lane = 0; lane < half; ++lane) sums[lane] = sums[lane] + sums[lane + half];
    }
    return sums[0];
}

// What is carried from block to block, for each lane.
template <class V>
struct OnlineSoftmax {
    using Rows = LaneRows<element_t<V>>;
    V peak = broadcast<V>(lowest<element_t<V>>);
    Doubles<V> total = broadcast<Doubles<V>>(0);

    // Makes weights exp(score - peak) of the scores of a block, of which `highest` are the highest; returns
    // the factor of everything summed before. Weights may replace the scores. They are added up afterwards:
    // in the order of the sum a load would often meet a store 4096 bytes before it that waits for its
    // exponential, and wait too, as some processors compare no more of addresses.
    V weigh(Rows scores, Rows weights, std::int64_t count, V highest) {
        const V before = peak;
        peak = max(highest, before);
        for (std::int64_t j = 0; j < count; ++j)
            store(weights.row(j), weight_of(load<V>(scores.row(j)) - peak));
        const V sum = sum_of_block<V>(count, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
            return load<V>(weights.row(j));
        });
        const V decay = weight_of(before - peak);
        total = mul_add(total, to_double(decay), to_double(sum));
        return decay;
    }

    // 1 / total, 0 where nothing took part.
    FASTNORM_INLINE V reciprocal() const {
        const auto zero = broadcast<Doubles<V>>(0);
        return rounded<V>(select(total == zero, zero, broadcast<Doubles<V>>(1) / total));
    }
};

// The weight that a score is where there is no softmax.
template <class V>
FASTNORM_INLINE V linear_weight(V score) {
    return select(score == broadcast<V>(minus_infinity<element_t<V>>), broadcast<V>(0), score);
}

FASTNORM_TARGET_END
