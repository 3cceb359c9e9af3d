// The sums of a plane: mean and m2 = sum (x - mean)^2, and with a gradient sum dy and sum dy * (x - mean),
// all from one read of x and dy.
//
// float32 and half types: the moments of loops/moments.h, in float lanes around a shift s near the mean. The
// sums of dy and of dy * (x - s) run beside them, 16 terms a lane before they are folded, and
//   sum dy * (x - mean) = sum dy * (x - s) - (mean - s) * sum dy,
// of which no more than a few deviations times dy cancels, or the products are taken again in double. float64
// is summed around one of its values, then around its mean.
//
// Parts (segments of a plane, planes of a channel) are merged by the rule of Chan, Golub and LeVeque
// ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979): with d = mean_b -
// mean_a, n = n_a + n_b,
//   mean = mean_a + d * n_b / n,  m2 = m2_a + m2_b + d^2 * n_a * n_b / n,
// which cancels nothing but the rounding of the means.
#pragma once

#include "kernels/loops/moments.h"
#include "kernels/norms/gradient_sums.h"
#include "kernels/norms/layer_norm.h"

FASTNORM_TARGET_BEGIN

struct Moments {
    double mean, m2;
};

FASTNORM_INLINE Moments merged(Moments a, double count_a, Moments b, double count_b) {
    const double d = b.mean - a.mean, share = count_b / (count_a + count_b);
    return {a.mean + d * share, a.m2 + (b.m2 + d * d * (count_a * share))};
}

struct PlaneSums {
    Moments moments;
    double dy, dy_d;  // sums of dy and of dy * (x - mean)
};

FASTNORM_INLINE PlaneSums merged(const PlaneSums& a, double count_a, const PlaneSums& b, double count_b) {
    const Moments moments = merged(a.moments, count_a, b.moments, count_b);
    const double along_a = a.dy * (a.moments.mean - moments.mean);
    const double along_b = b.dy * (b.moments.mean - moments.mean);
    return {moments, a.dy + b.dy, (a.dy_d + along_a) + (b.dy_d + along_b)};
}

// Longer planes are cut: a bound on n in the cancellation in double, and the rounding of longer sums.
constexpr std::int64_t segment_cols = 8192;

// The moments in double.
template <class T>
FASTNORM_OUTLINE Moments exact_moments(const T* x, std::int64_t cols) {
    if constexpr (sizeof(compute_t<T>) == 8) {
        const DoubleMoments moments = double_moments(x, cols, 1);
        return {moments.mean + moments.mean_rest, moments.variance * double(cols)};
    } else {
        const RowMoments moments = moments_in_double(x, cols);
        return {moments.mean, moments.variance * double(cols)};
    }
}

// The sums with dy in double, of a plane whose moments are known.
template <class T>
FASTNORM_OUTLINE PlaneSums exact_products(const T* x, const T* dy, std::int64_t cols, Moments moments) {
    RowSums sums{0, 0, 0};
    if constexpr (sizeof(compute_t<T>) == 8) {
        const Centre<double> centre{moments.mean, 1, 0, 1};
        backward_sums<true, 1>(&dy, &x, &centre, static_cast<const double*>(nullptr), cols, &sums);
    } else {
        // One after the other, as it is rare and should be small.
        for (std::int64_t j = 0; j < cols; ++j) {
            const double d = double(widen(x[j])) - moments.mean, change = double(widen(dy[j]));
            sums.h += change, sums.h_x += change * d, sums.x += d;
        }
    }
    return {moments, sums.h, sums.h_x - sums.x / double(cols) * sums.h};
}

// Sums of dy and of dy * (x - s).
class ProductSums {
    using V = Vec<float, row_lanes>;
    using D = Vec<double, row_lanes>;

public:
    FASTNORM_INLINE ProductSums() {
        part_[0] = part_[1] = broadcast<V>(0);
        total_[0] = total_[1] = broadcast<D>(0);
    }
    FASTNORM_INLINE void add(V dy, V d) {
        part_[0] = part_[0] + dy;
        part_[1] = mul_add(dy, d, part_[1]);
    }
    FASTNORM_INLINE void fold() {
        FASTNORM_UNROLL
        for (int kind = 0; kind < 2; ++kind) {
            total_[kind] = total_[kind] + to_double(part_[kind]);
            part_[kind] = broadcast<V>(0);
        }
    }
    FASTNORM_INLINE double dy() const { return sum(total_[0]); }
    FASTNORM_INLINE double dy_d() const { return sum(total_[1]); }

private:
    V part_[2];
    D total_[2];
};

// The sums of a segment of float or half elements, without Products those of x alone; `least` as in
// MomentSums. One plane at a time, in the order of memory: two or four at a time keep more additions in
// flight, but took 1.2 and 1.4 times as long from the third-level cache (2048 planes of 28 x 28, x and dy,
// one core of Zen 4). So is the shift the mean of the first values alone: asking four places of a plane
// takes 1.1 to 1.2 times as long.
template <bool Products, class T>
FASTNORM_INLINE PlaneSums segment_sums(const T* x, const T* dy, std::int64_t cols, double least) {
    using V = Vec<float, row_lanes>;
    const StoredRow<T> row{x};
    MomentSums moments;
    ProductSums products;
    const float shift = near_mean(row, smaller(cols, row_lanes));
    moments.around(shift);
    for_folded_columns(
        cols,
        [&](std::int64_t j, auto step, int turn) FASTNORM_INLINE_LAMBDA {
            const V d = moments.add(row.take(j, step, shift), turn);
            if constexpr (Products) products.add(load_columns<V>(dy + j, step), d);
        },
        [&]() FASTNORM_INLINE_LAMBDA {
            moments.fold();
            if constexpr (Products) products.fold();
        }
    );
    const auto [mean, variance] = moments.finish(x, cols, least);
    PlaneSums sums{{mean, variance * double(cols)}, 0, 0};
    if constexpr (Products) {
        const double off = mean - double(shift);
        sums.dy = products.dy();
        sums.dy_d = products.dy_d() - off * sums.dy;
        if (!(off * off <= 9 * variance)) sums = exact_products(x, dy, cols, sums.moments);
    }
    return sums;
}

// The sums of a contiguous plane; in double if `exact`.
template <bool Products, class T>
FASTNORM_INLINE PlaneSums plane_sums(const T* x, const T* dy, std::int64_t cols, double least, bool exact) {
    if (cols == 1) {
        const double value = widen(*x), zero = value - value;  // or NaN
        const double change = Products ? widen(*dy) : 0;
        return {{value + zero, zero}, change, change * zero};
    }
    PlaneSums sums;
    for (std::int64_t start = 0; start < cols; start += segment_cols) {
        const std::int64_t length = smaller(segment_cols, cols - start);
        const T* const x_part = x + start;
        const T* const dy_part = Products ? dy + start : nullptr;
        PlaneSums part{{0, 0}, 0, 0};
        if (sizeof(compute_t<T>) == 8 || exact) {
            part.moments = exact_moments(x_part, length);
            if constexpr (Products) part = exact_products(x_part, dy_part, length, part.moments);
        } else if constexpr (sizeof(compute_t<T>) == 4) {
            part = segment_sums<Products>(x_part, dy_part, length, least);
        }
        sums = start == 0 ? part : merged(sums, double(start), part, double(length));
    }
    return sums;
}

FASTNORM_TARGET_END
