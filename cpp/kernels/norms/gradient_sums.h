// The sums over a row that its gradient needs, of h = dy * weight and d = x - mean: sum h, sum h * d, sum d.
//
// They run on row_lanes lanes of the compute type, folded to double every products_together columns. The last
// one tells what a rounded mean lacks: with |mean| a million deviations a float mean alone would be off by 3
// % of a deviation.
#pragma once

#include "kernels/loops/moments.h"
#include "kernels/norms/centring.h"

FASTNORM_TARGET_BEGIN

// The sums of one row of float or half elements. Centred: layer_norm; else rms_norm, which needs sum h * x
// alone.
template <bool Centred>
class GradientSums {
    using V = Vec<float, row_lanes>;
    using D = Vec<double, row_lanes>;

public:
    FASTNORM_INLINE void begin(float mean) {
        mean_ = mean;
        origin_ = broadcast<V>(mean);
        FASTNORM_UNROLL
        for (int kind = 0; kind < kinds; ++kind)
            part_[kind] = broadcast<V>(0), total_[kind] = broadcast<D>(0);
    }
    // What lanes past the end are to hold.
    FASTNORM_INLINE float fill() const { return mean_; }
    FASTNORM_INLINE void add(V h, V x) {
        if constexpr (Centred) {
            const V d = x - origin_;
            part_[0] = mul_add(h, d, part_[0]);
            part_[1] = part_[1] + h;
            part_[2] = part_[2] + d;
        } else {
            part_[0] = mul_add(h, x, part_[0]);
        }
    }
    FASTNORM_INLINE void fold() {
        FASTNORM_UNROLL
        for (int kind = 0; kind < kinds; ++kind) {
            total_[kind] = total_[kind] + to_double(part_[kind]);
            part_[kind] = broadcast<V>(0);
        }
    }
    FASTNORM_INLINE double h_d() const { return sum(total_[0]); }
    FASTNORM_INLINE double h() const { return Centred ? sum(total_[Centred ? 1 : 0]) : 0; }
    FASTNORM_INLINE double d() const { return Centred ? sum(total_[Centred ? 2 : 0]) : 0; }

private:
    static constexpr int kinds = Centred ? 3 : 1;
    float mean_;
    V origin_;
    V part_[kinds];
    D total_[kinds];
};

struct RowSums {
    double h, h_x, x;  // sums of h, h * (x - mean), x - mean
};

template <bool Centred, int R, class T, class X, class C>
void backward_sums(
    const T* const* dy, const X* const* x, const Centre<C>* centre, const compute_t<T>* weights,
    std::int64_t cols, RowSums* sums
) {
    using V = Vec<C, row_lanes>;
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = {0, 0, 0};
    for (std::int64_t start = 0; start < cols; start += products_together) {
        const std::int64_t stop = smaller(start + products_together, cols);
        V h_sum[R], h_x_sum[R], x_sum[R];
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) h_sum[r] = h_x_sum[r] = x_sum[r] = broadcast<V>(0);
        for_columns<row_lanes>(start, stop, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V weight = weights ? load_columns<V>(weights + j, step) : broadcast<V>(1);
            FASTNORM_UNROLL
            for (int r = 0; r < R; ++r) {
                const V h = load_columns<V>(dy[r] + j, step) * weight;
                // Lanes past the end hold x = mean / scale, so that x - mean is 0 there.
                V d = load_columns<V>(x[r] + j, step, element_t<V>(centre[r].mean / centre[r].scale));
                if constexpr (sizeof(compute_t<T>) == 8) d = d * broadcast<V>(centre[r].scale);
                if constexpr (Centred) d = d - broadcast<V>(centre[r].mean);
                h_x_sum[r] = mul_add(h, d, h_x_sum[r]);
                if constexpr (Centred) {
                    h_sum[r] = h_sum[r] + h;
                    x_sum[r] = x_sum[r] + d;
                }
            }
        });
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            sums[r].h_x += sum_in_double(h_x_sum[r]);
            if constexpr (Centred) {
                sums[r].h += sum_in_double(h_sum[r]);
                sums[r].x += sum_in_double(x_sum[r]);
            }
        }
    }
}

FASTNORM_TARGET_END
