// The sums over a row that its gradient needs, of h = dy * weight and d = x - mean: sum h, sum h * d, sum d.
//
// They run on row_lanes lanes of the compute type, folded to double; the last one tells what a rounded mean
// lacks: with |mean| a million deviations a float mean alone would be off by 3 % of a deviation. In float, d
// = x - shift as in loops/moments.h, whose sums give the statistics in the same pass: sum h * (x - mean) =
// sum h * d - (mean - shift) * sum h, where the shift is within a deviation of the mean, so that little
// cancels.
#pragma once

#include "kernels/loops/moments.h"
#include "kernels/norms/centring.h"

FASTNORM_TARGET_BEGIN

// The sums of one row of float or half elements, and those that its statistics follow from.
template <class Sums>
class GradientSums {
    using V = Vec<float, row_lanes>;
    using D = Vec<double, row_lanes>;

public:
    FASTNORM_INLINE GradientSums()
        : h_(broadcast<V>(0)),
          h_d_(broadcast<V>(0)),
          h_total_(broadcast<D>(0)),
          h_d_total_(broadcast<D>(0)) {}

    template <class Source>
    FASTNORM_INLINE void begin(const Source& source, std::int64_t cols) {
        statistic_.begin(source, cols);
    }
    FASTNORM_INLINE void around(float shift) { statistic_.around(shift); }
    FASTNORM_INLINE float fill() const { return statistic_.fill(); }
    FASTNORM_INLINE void add(V h, V x, int turn) {
        const V d = statistic_.add(x, turn);
        if (Sums::centred) h_ = h_ + h;
        h_d_ = mul_add(h, d, h_d_);
    }
    FASTNORM_INLINE void fold() {
        statistic_.fold();
        if (Sums::centred) h_total_ = h_total_ + to_double(h_), h_ = broadcast<V>(0);
        h_d_total_ = h_d_total_ + to_double(h_d_), h_d_ = broadcast<V>(0);
    }
    FASTNORM_INLINE const Sums& statistic() const { return statistic_; }
    FASTNORM_INLINE double shift() const { return statistic_.shift(); }
    FASTNORM_INLINE double h() const { return Sums::centred ? sum(h_total_) : 0; }
    FASTNORM_INLINE double h_d() const { return sum(h_d_total_); }

private:
    Sums statistic_;
    V h_, h_d_;
    D h_total_, h_d_total_;
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
