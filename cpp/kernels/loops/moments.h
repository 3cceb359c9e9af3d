// Mean and variance, or mean square, of rows of float or half elements, in float lanes folded to double.
//
// Moments are taken of d = x - shift, in one pass: mean = shift + sum d / n, variance = (sum d^2 - (sum d)^2
// / n) / n. Two accumulators of row_lanes lanes take turns; every squares_together columns both are folded
// into doubles, so that a lane adds four terms. With u = 2^-24 and the worst rounding everywhere, the mean
// errs by at most 3 u mean|d| and the variance by 4 u mean(d^2), 2 u of rstd; typically by 0.2 u. (With eight
// terms, rows of some equal spikes over values that are each lost beside them erred by 5.7 of the 4 units
// allowed.)
//
// That is as good as it has to be while the shift is within a deviation of the mean, where mean(d^2) <= 2
// variance: it is the mean of 64 elements in four places of the row (of the first 16, of short rows), so that
// neither noise nor a slope misleads it. Rows that it has misled (known from the result) are summed again
// around the mean that came out. Where squares overflow or vanish, where a value is not finite, and where one
// lane holds a quarter of the squares (a spike, to which small terms are added with its rounding), double
// lanes take the moments around one of the values, for which (x[0] - mean)^2 <= n * variance bounds the
// cancellation by n * 2^-53, and squares of FLT_MAX are finite. The mean of constant rows is exact, and their
// variance 0.
//
// Conversions to double cost more than the sums: at 512 x 768, one Zen 4 core, mean and variance take 3.4
// cycles a vector of 16 elements from the second-level cache, and in double lanes some 6.
#pragma once

#include <cmath>

#include "kernels/loops/folding.h"

FASTNORM_TARGET_BEGIN

constexpr std::int64_t squares_together = 8 * row_lanes;

// Calls body(j, step, turn) for all columns, `turn` naming one of two accumulators for each vector, and
// fold() after each squares_together of them.
template <class Body, class Fold>
FASTNORM_INLINE void for_folded_columns(std::int64_t cols, Body body, Fold fold) {
    for (std::int64_t begin = 0; begin < cols; begin += squares_together) {
        const std::int64_t end = smaller(begin + squares_together, cols);
        std::int64_t j = begin;
        for (; j + 2 * row_lanes <= end; j += 2 * row_lanes) {
            body(j, Whole{}, 0);
            body(j + row_lanes, Whole{}, 1);
        }
        for_columns<row_lanes>(j, end, [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
            body(k, step, 0);
        });
        fold();
    }
}

// A sum of as many terms as there are columns.
class FoldedSum {
    using V = Vec<float, row_lanes>;
    using D = Vec<double, row_lanes>;

public:
    FASTNORM_INLINE FoldedSum() : total_(broadcast<D>(0)) { part_[0] = part_[1] = broadcast<V>(0); }

    FASTNORM_INLINE void add(V term, int turn) { part_[turn] = part_[turn] + term; }
    FASTNORM_INLINE void add_product(V a, V b, int turn) { part_[turn] = mul_add(a, b, part_[turn]); }
    FASTNORM_INLINE void fold() {
        total_ = (total_ + to_double(part_[0])) + to_double(part_[1]);
        part_[0] = part_[1] = broadcast<V>(0);
    }
    FASTNORM_INLINE double value() const { return sum(total_); }
    // Whether a lane holds much of the sum of so many terms, none of them negative: see above.
    FASTNORM_INLINE bool is_concentrated(double value, std::int64_t cols) const {
        return cols >= squares_together && any(total_ > broadcast<D>(value * 0.25));
    }

private:
    V part_[2];
    D total_;
};

// A row in memory as the source of what is summed. A source gives the columns from the j-th on, lanes past
// the end holding `fill`: peek() before they are taken one after the other by take(), which may do more on
// the way; here it fetches the row `ahead`, or half of it.
template <class T>
struct StoredRow {
    const T* x;
    const T* ahead = nullptr;
    int halving = 0;

    template <class Step>
    FASTNORM_INLINE Vec<float, row_lanes> peek(std::int64_t j, Step step, float fill) const {
        return load_columns<Vec<float, row_lanes>>(x + j, step, fill);
    }
    template <class Step>
    FASTNORM_INLINE Vec<float, row_lanes> take(std::int64_t j, Step step, float fill) const {
        if (ahead) prefetch_read(ahead + (j >> halving));
        return peek(j, step, fill);
    }
    FASTNORM_INLINE float first() const { return widen(*x); }
};

// The mean of some elements of a source. Sixteenths and sums of equal values are exact.
template <class Source>
FASTNORM_INLINE float near_mean(const Source& source, std::int64_t cols) {
    using V = Vec<float, row_lanes>;
    if (cols < row_lanes) {
        return sum(source.peek(0, Partial{int(cols)}, source.first()) * broadcast<V>(1.0f / row_lanes));
    }
    const auto some = [&](std::int64_t j) FASTNORM_INLINE_LAMBDA { return source.peek(j, Whole{}, 0); };
    if (cols < 4 * row_lanes) return sum(some(0) * broadcast<V>(1.0f / row_lanes));
    const std::int64_t quarter = cols / 4;
    const V share = broadcast<V>(1.0f / (4 * row_lanes));
    const V near = mul_add(some(0), share, some(quarter) * share);
    return sum(near + mul_add(some(2 * quarter), share, some(3 * quarter) * share));
}

// Adds all columns of a source to sums that have begun.
template <class Sums, class Source>
FASTNORM_INLINE void add_columns(Sums& sums, const Source& source, std::int64_t cols) {
    for_folded_columns(
        cols,
        [&](std::int64_t j, auto step, int turn)
            FASTNORM_INLINE_LAMBDA { sums.add(source.take(j, step, sums.fill()), turn); },
        [&]() FASTNORM_INLINE_LAMBDA { sums.fold(); }
    );
}

template <class Sums, class Source>
FASTNORM_INLINE void sum_row(Sums& sums, const Source& source, std::int64_t cols) {
    sums.begin(source, cols);
    add_columns(sums, source, cols);
}

struct RowMoments {
    double mean, variance;
};

// The moments from the sums of d and d^2.
FASTNORM_INLINE RowMoments moments_of(double shift, double sum, double squares, std::int64_t cols) {
    const double one_in_n = 1 / double(cols), average = sum * one_in_n, centred = squares - sum * average;
    // Rounding may leave a tiny negative number; NaN must stay.
    return {shift + average, (0 > centred ? 0 : centred) * one_in_n};
}

// The moments of a row in double lanes.
template <class T>
FASTNORM_OUTLINE RowMoments moments_in_double(const T* x, std::int64_t cols) {
    using V = Vec<double, row_lanes>;
    const double first = widen(*x);
    const V shift = broadcast<V>(first);
    V sums = broadcast<V>(0), squares = sums;
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V d = load_columns<V>(x + j, step, first) - shift;
        sums = sums + d;
        squares = mul_add(d, d, squares);
    });
    return moments_of(first, sum(sums), sum(squares), cols);
}

// The sums that the moments of a row follow from: begin(), then add() for every column with fold() between,
// then finish().
class MomentSums {
    using V = Vec<float, row_lanes>;

public:
    template <class Source>
    FASTNORM_INLINE void begin(const Source& source, std::int64_t cols) {
        around(near_mean(source, cols));
    }
    FASTNORM_INLINE void around(float shift) {
        shift_ = shift;
        origin_ = broadcast<V>(shift);
    }
    // What lanes past the end are to hold.
    FASTNORM_INLINE float fill() const { return shift_; }
    // Returns d.
    FASTNORM_INLINE V add(V x, int turn) {
        const V d = x - origin_;
        sum_.add(d, turn);
        squares_.add_product(d, d, turn);
        return d;
    }
    FASTNORM_INLINE void fold() { sum_.fold(), squares_.fold(); }

    // Mean and variance of the row, which is x; `least` is what the caller adds to the variance.
    template <class T>
    FASTNORM_INLINE RowMoments finish(const T* x, std::int64_t cols, double least) const {
        const RowMoments moments = estimate(cols);
        if (squares_.is_concentrated(squares_.value(), cols)) return moments_in_double(x, cols);
        return are_good(moments, least) ? moments : again(x, cols, least, moments.mean);
    }

private:
    FASTNORM_INLINE RowMoments estimate(std::int64_t cols) const {
        return moments_of(shift_, sum_.value(), squares_.value(), cols);
    }
    FASTNORM_INLINE bool are_good(const RowMoments& moments, double least) const {
        const double off = moments.mean - shift_;
        return off * off <= moments.variance && moments.variance <= 0x1p100 &&
               moments.variance + least >= 0x1p-100;
    }

    // The moments of a row whose first shift was of no use.
    template <class T>
    static FASTNORM_OUTLINE RowMoments again(const T* x, std::int64_t cols, double least, double mean) {
        const float shift = float(mean);
        if (std::fabs(shift) <= 0x1p120f) {
            MomentSums sums;
            sums.around(shift);
            add_columns(sums, StoredRow<T>{x}, cols);
            const RowMoments moments = sums.estimate(cols);
            if (sums.are_good(moments, least)) return moments;
        }
        return moments_in_double(x, cols);
    }

    float shift_;
    V origin_;
    FoldedSum sum_, squares_;
};

// The same for the mean square.
class SquareSums {
    using V = Vec<float, row_lanes>;

public:
    template <class Source>
    FASTNORM_INLINE void begin(const Source&, std::int64_t) {}
    FASTNORM_INLINE float fill() const { return 0; }
    FASTNORM_INLINE void add(V x, int turn) { squares_.add_product(x, x, turn); }
    FASTNORM_INLINE void fold() { squares_.fold(); }

    template <class T>
    FASTNORM_INLINE double finish(const T* x, std::int64_t cols, double least) const {
        const double total = squares_.value(), mean_square = total / double(cols);
        const bool good = mean_square <= 0x1p100 && mean_square + least >= 0x1p-100 &&
                          !squares_.is_concentrated(total, cols);
        return good ? mean_square : in_double(x, cols);
    }

    // The mean square of a row in double lanes.
    template <class T>
    static FASTNORM_OUTLINE double in_double(const T* x, std::int64_t cols) {
        using D = Vec<double, row_lanes>;
        D squares = broadcast<D>(0);
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const D value = load_columns<D>(x + j, step);
            squares = mul_add(value, value, squares);
        });
        return sum(squares) / double(cols);
    }

private:
    FoldedSum squares_;
};

FASTNORM_TARGET_END
