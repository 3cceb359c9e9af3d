// The exponentials of a row and their sum: what softmax, log_softmax and the losses over classes are made of.
//
// A row x is taken as e_j = exp(x_j - shift) 2^-power in the compute type and S = sum e_j in double. Where S
// with shift = 0 and power = 0 is at least 1 and leaves room, one pass over the row does, without its
// maximum. Otherwise the maximum m is taken, and a second pass takes shift = 0 and as power the integer
// nearest to m/ln(2), or, where |m| is large, shift = m and power = 0. All these subtractions are exact (an
// integer from an integer; m from elements within a factor of two of it), so that every e_j has the relative
// accuracy of the exponential itself (1.07 ULP), however small it is; x_j - m would be rounded, and that
// error counts |x_j - m| times. S is at least 0.7, so no ratio e_j / S loses bits to an e_j that is
// subnormal.
//
// log(sum exp(x_j)) is a reference and what lies above it, the lift: log S above 0, or above m after a second
// pass. Where one element holds more than half of S, it is the reference, and the lift is log1p(rest / its
// exponential), the rest being summed without it: a lift near 0 keeps its relative accuracy.
#pragma once

#include <limits>

#include "kernels/loops/beside.h"
#include "kernels/loops/elementwise.h"
#include "kernels/loops/row_sums.h"
#include "simd/logarithm.h"
#include "tasks/softmax.h"

FASTNORM_TARGET_BEGIN

// A double function of Vecs at one point.
template <class Function>
FASTNORM_INLINE double at_point(double x, Function f) {
    using V = Vec<double, native<double>>;
    double values[native<double>];
    store(values, f(broadcast<V>(x)));
    return values[0];
}
FASTNORM_INLINE double log_at(double x) {
    return at_point(x, [](auto v) FASTNORM_INLINE_LAMBDA { return log(v); });
}
FASTNORM_INLINE double log1p_at(double x) {
    return at_point(x, [](auto v) FASTNORM_INLINE_LAMBDA { return log1p(v); });
}

// exp(x) 2^-power, and 0 where `vanishes` is set. NaN gives NaN.
//
// In float x = n ln(2) + r, n a multiple of 1/16, and exp(x) is 2^floor(n) times one of sixteen constants
// times a cubic of r: 12 operations instead of the 16 of a reduction to whole powers, and a shorter chain of
// them (0.15 ns an element where that took 0.23, one Ice Lake core at 2.8 GHz, in the first-level cache). The
// rounding of the constant counts once more: below 1.07 ULP.
template <int N>
FASTNORM_INLINE Vec<float, N> scaled_exp(Vec<float, N> x, Vec<float, N> power, Mask<float, N> vanishes) {
    static constexpr float roots[] = {
        0x1p+0f,        0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fep+0f,  0x1.3dea64p+0f,
        0x1.4bfdaep+0f, 0x1.5ab07ep+0f, 0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
        0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f,
    };
    constexpr float magic = 0x1.8p19f;  // leaves four bits for a fraction
    constexpr std::int64_t fraction = 15;
    using V = Vec<float, N>;
    using R = Reduction<float>;
    const V shifted = mul_add(x, broadcast<V>(R::reciprocal), broadcast<V>(magic)),
            n = shifted - broadcast<V>(magic);
    const V high = negative_mul_add(n, broadcast<V>(R::ln2_high), x);
    const V r = negative_mul_add(n, broadcast<V>(R::ln2_low), high);
    const V rest = mul_add(mul_add(broadcast<V>(0x1.55561ep-3f), r, broadcast<V>(0x1.0001b4p-1f)), r * r, r);
    const V root = lookup16(roots, as_bits(shifted)), value = mul_add(root, rest, root);
    if constexpr (has_scale) {
        return scale_or_zero(vanishes, value, n - power);  // takes the whole part itself
    } else {
        const V whole = from_bits(as_bits(shifted) - (as_bits(shifted) & broadcast_bits<V>(fraction)));
        return scale_or_zero(vanishes, value, (whole - broadcast<V>(magic)) - power);
    }
}
template <int N>
FASTNORM_INLINE Vec<double, N> scaled_exp(Vec<double, N> x, Vec<double, N> power, Mask<double, N> vanishes) {
    const auto e = exponential(x);
    return scale_or_zero(vanishes, broadcast<Vec<double, N>>(1) + e.s, e.n - power);
}

// exp(x) likewise, for every x: it is taken for the end beyond those where results round to 0 and infinity.
template <class V>
FASTNORM_INLINE V exp_of_row(V x) {
    constexpr bool is_float = sizeof(element_t<V>) == 4;
    const V lowest = broadcast<V>(is_float ? -105 : -746), highest = broadcast<V>(is_float ? 89 : 710);
    return scaled_exp(min(highest, x), broadcast<V>(0), x < lowest);
}

// How the elements of a row are shifted; `finite` if its maximum is.
template <class C>
struct Shift {
    C reference, shift, floor, power;
    bool finite;

    // Elements that lie `reach` or more below the maximum have exponentials that round to 0. From twice that
    // on, the maximum is subtracted exactly.
    static constexpr C reach = sizeof(C) == 4 ? C(105) : C(746);
    // Sums of exponentials of up to this leave their products with gradients, and gradients divided by them,
    // in the range of C; in double, whose logarithm of the sum is rounded where it is large, also few digits
    // to lose.
    static constexpr double end = sizeof(C) == 4 ? 0x1p40 : 0x1p20;

    static FASTNORM_INLINE Shift none() { return {0, 0, -reach, 0, true}; }
    static FASTNORM_INLINE Shift of(C maximum) {
        const bool near = maximum > -2 * reach && maximum < 2 * reach;
        const C magic = Reduction<C>::magic;
        const C power = near ? (maximum * Reduction<C>::reciprocal + magic) - magic : C(0);
        const C infinity = LogarithmLayout<C>::infinity;
        return {
            maximum, near ? C(0) : maximum, near ? maximum - reach : -reach, power,
            maximum > -infinity && maximum < infinity
        };
    }
    template <class V>
    FASTNORM_INLINE V exponentials(V x) const {
        const V shifted = x - broadcast<V>(shift);
        return scaled_exp(shifted, broadcast<V>(power), shifted < broadcast<V>(floor));
    }
    // The same where a share of S that is subnormal counts as 0: then it is 0.
    template <class V>
    FASTNORM_INLINE V normal_shares(V x) const {
        // From m - (126 or 1022) ln(2) on, less ln(2) for S >= 0.7 and for the rounding of the power.
        const V least = broadcast<V>(reference - (sizeof(C) == 4 ? C(88.1) : C(709.2)));
        return scaled_exp(x - broadcast<V>(shift), broadcast<V>(power), x < least);
    }
    // log(sum exp(x_j - reference)) from S, with an absolute error of about that of log S. What is subtracted
    // from it is 0 mostly, and a row waits for it.
    FASTNORM_INLINE double lift(double sum) const {
        using L = LogarithmLayout<double>;
        if (power == 0 && reference == shift) return log_at(sum);
        const double offset = double(reference) - double(shift) - double(power) * L::ln2_high;
        return log_at(sum) - (offset - double(power) * L::ln2_low);
    }
};

// What is known of the e_j of a row.
struct PowerSum {
    double value;       // S, NaN where the row has a NaN
    bool concentrated;  // whether one lane holds more than half of S; else no element does
    double second = 0;  // another sum, if one was taken meanwhile

    FASTNORM_INLINE explicit PowerSum(Vec<double, row_lanes> lanes)
        : value(sum(lanes)), concentrated(any(lanes > broadcast<Vec<double, row_lanes>>(0.5 * value))) {}
    FASTNORM_INLINE explicit PowerSum(Both<Vec<double, row_lanes>> lanes) : PowerSum(lanes.first) {
        second = sum(lanes.second);
    }
};

// e_j of a whole row under a shift.
template <class T>
PowerSum row_exponentials(const T* x, compute_t<T>* e, std::int64_t cols, const Shift<compute_t<T>> shift) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    return PowerSum(sum_in_lanes<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V value = shift.exponentials(load_columns<V>(x + j, step, -LogarithmLayout<C>::infinity));
        store_columns(e + j, value, step);
        return value;
    }));
}

// The same without a shift. Beside it another row is written, or else the lines of the row `fetched` are;
// terms(j, step, e_j) is what is summed: e_j, or Both that and something else.
template <class T, class Beside, class Terms>
PowerSum row_exponentials(
    const T* x, compute_t<T>* e, std::int64_t cols, const T* fetched, const Beside& beside, Terms terms
) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    const Beside other = beside;
    const V floor = broadcast<V>(-Shift<C>::reach);
    return PowerSum(sum_in_lanes<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        if constexpr (std::is_same_v<Beside, Nothing>) prefetch_write(const_cast<T*>(fetched) + j);
        const auto written = other.take(j, step);
        const V value = load_columns<V>(x + j, step, -LogarithmLayout<C>::infinity);
        const V power = scaled_exp(value, broadcast<V>(0), value < floor);
        const auto term = terms(j, step, power);
        other.put(j, written, step);
        store_columns(e + j, power, step);
        return term;
    }));
}
struct PowersAlone {
    template <class Step, class V>
    FASTNORM_INLINE V operator()(std::int64_t, Step, V power) const {
        return power;
    }
};

// The largest element of a row (NaN disregarded; -infinity where there is none).
template <class T>
compute_t<T> row_maximum(const T* x, std::int64_t cols) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    V most = broadcast<V>(-LogarithmLayout<C>::infinity);
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        most = max(load_columns<V>(x + j, step, -LogarithmLayout<C>::infinity), most);
    });
    return largest(most);
}

// sum of e_j without column `left_out`.
template <class C>
double row_rest(C* e, std::int64_t cols, std::int64_t left_out) {
    const C value = e[left_out];
    e[left_out] = 0;
    const double rest = row_sum<C>(e, cols);
    e[left_out] = value;
    return rest;
}

// What is fetched while the exponentials of a row of x are computed: the lines of the result, or, where that
// is streamed past the caches, the next row of x, so that memory is read meanwhile and written afterwards; of
// a row too long for the nearer caches, just what comes next. 16384 x 4096 on two Ice Lake cores:
// softmax 23.0 ms otherwise and 22.4 so, its backward 40.3 and 34.7, cross_entropy with its gradient 22.0
// and 20.3; a row of 256 KiB fetched whole costs 10 %.
template <class T>
FASTNORM_INLINE const T* fetched_meanwhile(const T* x, const T* result, std::int64_t cols, bool streaming) {
    constexpr std::int64_t longest = 64 << 10;
    if (!streaming) return result;
    return x + (cols * std::int64_t(sizeof(T)) <= longest ? cols : fetched_ahead);
}

// One row of exponentials, what softmax and the losses start from.
template <class T>
class ExponentialRow {
public:
    using C = compute_t<T>;

    // Fills e and S; beside it writes another row, or else fetches the lines of the row `fetched`.
    FASTNORM_INLINE ExponentialRow(const T* x, C* e, std::int64_t cols, const T* fetched)
        : ExponentialRow(x, e, cols, row_exponentials(x, e, cols, fetched, Nothing{}, PowersAlone{})) {}

    // Goes on from what is known of the e_j without a shift.
    FASTNORM_INLINE ExponentialRow(const T* x, C* e, std::int64_t cols, const PowerSum& powers)
        : sum(powers.value),
          x_(x),
          e_(e),
          cols_(cols),
          shift_(Shift<C>::none()),
          concentrated_(powers.concentrated) {
        if (sum >= 1 && sum <= Shift<C>::end) return;
        begin_again();
    }

    double sum;                  // S; NaN for a row without a finite maximum or with a NaN
    double rest = 0;             // S without the dominant column
    std::int64_t dominant = -1;  // the column that is known to hold more than half of S

    // Makes `column` the dominant one if it holds more than half of S.
    FASTNORM_INLINE void try_dominant(std::int64_t column) {
        if (!(2 * double(e_[column]) > sum)) return;
        dominant = column;
        rest = row_rest(e_, cols_, column);
        shift_.reference = widen(x_[column]);
    }
    // Finds the dominant column if there is one.
    FASTNORM_INLINE void find_dominant() {
        if (concentrated_) try_dominant(column_above(e_, cols_, C(0.5 * sum)));
    }

    // log(sum exp(x_j)) is reference() + lift(), and the lift relatively accurate once the dominant column is
    // known, if there is one.
    FASTNORM_INLINE double reference() const { return shift_.reference; }
    FASTNORM_INLINE double lift() const {
        return dominant < 0 ? shift_.lift(sum) : log1p_at(rest / double(e_[dominant]));
    }
    // 1 - softmax of a column, likewise.
    FASTNORM_INLINE double complement(std::int64_t column) const {
        return (column == dominant ? rest : sum - double(e_[column])) / sum;
    }

private:
    // The same with a shift.
    FASTNORM_OUTLINE void begin_again() {
        shift_ = Shift<C>::of(row_maximum(x_, cols_));
        sum = std::numeric_limits<double>::quiet_NaN();
        if (!shift_.finite) return;
        const PowerSum powers = row_exponentials(x_, e_, cols_, shift_);
        sum = powers.value, concentrated_ = powers.concentrated;
    }

    const T* x_;
    C* e_;
    std::int64_t cols_;
    Shift<C> shift_;
    bool concentrated_;
};

FASTNORM_TARGET_END
