// The exponentials of a row and their sum: what softmax, log_softmax and the losses over classes are made of.
//
// A row x is taken as e_j = exp(x_j - shift) 2^-power in the compute type and S = sum e_j in double. Where
// the maximum m lies between 0 and an end that leaves room for the sum, shift and power are 0: exponentials
// and maximum then come from one pass over the row. Otherwise a second pass takes shift = 0 and as power the
// integer nearest to m/ln(2), or, where |m| is large, shift = m and power = 0. All these subtractions are
// exact (an integer from an integer; m from elements within a factor of two of it), so that every e_j has the
// relative accuracy of the exponential itself (1.07 ULP), however small it is; x_j - m would be rounded, and
// that error counts |x_j - m| times. The largest e_j is at least 0.7, so no ratio e_j / S loses bits to an
// e_j that is subnormal.
//
// The natural scale of a loss is lift = log(sum exp(x_j - m)) >= 0. Where one element holds more than half of
// S, lift is log1p(rest / that element), the rest being summed without it: a lift near 0 keeps its relative
// accuracy.
#pragma once

#include <limits>

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

// exp(x) 2^-power. NaN gives NaN.
//
// In float x = n ln(2) + r, n a multiple of 1/16, and exp(x) is 2^floor(n) times one of sixteen constants
// times a cubic of r: 12 operations instead of the 16 of a reduction to whole powers, and a shorter chain of
// them (0.15 ns an element where that took 0.23, one Ice Lake core at 2.8 GHz, in the first-level cache). The
// rounding of the constant counts once more: below 1.07 ULP.
template <int N>
FASTNORM_INLINE Vec<float, N> scaled_exp(Vec<float, N> x, Vec<float, N> power) {
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
        return scale(value, n - power);  // takes the whole part itself
    } else {
        const V whole = from_bits(as_bits(shifted) - (as_bits(shifted) & broadcast_bits<V>(fraction)));
        return scale(value, (whole - broadcast<V>(magic)) - power);
    }
}
template <int N>
FASTNORM_INLINE Vec<double, N> scaled_exp(Vec<double, N> x, Vec<double, N> power) {
    const auto e = exponential(x);
    return scale(broadcast<Vec<double, N>>(1) + e.s, e.n - power);
}

// How the elements of a row are shifted; `finite` if its maximum is.
template <class C>
struct Shift {
    C maximum, shift, floor, power;
    bool finite;

    // Elements that lie `reach` or more below the maximum have exponentials that round to 0. From twice that
    // on, the maximum is subtracted exactly.
    static constexpr C reach = sizeof(C) == 4 ? C(105) : C(746);
    // Sums of exponentials of up to this do not overflow.
    static constexpr C end = sizeof(C) == 4 ? C(80) : C(600);

    static FASTNORM_INLINE Shift none(C maximum) { return {maximum, 0, -reach, 0, true}; }
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
        return scaled_exp(max(broadcast<V>(floor), x - broadcast<V>(shift)), broadcast<V>(power));
    }
    // log(sum exp(x_j - maximum)) from S, with an absolute error of about that of log S.
    FASTNORM_INLINE double lift(double sum) const {
        using L = LogarithmLayout<double>;
        const double offset = double(maximum) - double(shift) - double(power) * L::ln2_high;
        return log_at(sum) - (offset - double(power) * L::ln2_low);
    }
};

// e_j of a whole row under a shift; returns S, NaN where the row has a NaN.
template <class T>
double row_exponentials(const T* x, compute_t<T>* e, std::int64_t cols, const Shift<compute_t<T>> shift) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V value = shift.exponentials(load_columns<V>(x + j, step, -LogarithmLayout<C>::infinity));
        store_columns(e + j, value, step);
        return value;
    });
}

// The same without a shift, and the maximum (NaN disregarded; -infinity where there is none). Meanwhile
// fetches the lines of the row `target`.
template <class T>
double row_exponentials(
    const T* x, compute_t<T>* e, std::int64_t cols, const T* target, compute_t<T>& maximum
) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    const V least = broadcast<V>(-LogarithmLayout<C>::infinity), floor = broadcast<V>(-Shift<C>::reach);
    V most = least;
    const double result = sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        prefetch_write(const_cast<T*>(target) + j);
        const V value = load_columns<V>(x + j, step, -LogarithmLayout<C>::infinity);
        most = max(value, most);
        const V power = scaled_exp(max(floor, value), broadcast<V>(0));
        store_columns(e + j, power, step);
        return power;
    });
    maximum = largest(most);
    return result;
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

// The work row at the beginning of the scratch, which moves on.
template <class C>
FASTNORM_INLINE C* take_work_row(char*& space, std::int64_t cols) {
    C* row = reinterpret_cast<C*>(space);
    space += work_row_bytes(cols, sizeof(C));
    return row;
}

// One row of exponentials, what softmax and the losses start from.
template <class T>
class ExponentialRow {
public:
    using C = compute_t<T>;

    // Fills e and S; meanwhile fetches the lines of the row `target`.
    FASTNORM_INLINE ExponentialRow(const T* x, C* e, std::int64_t cols, const T* target)
        : x_(x), e_(e), cols_(cols) {
        C maximum;
        sum = row_exponentials(x, e, cols, target, maximum);
        shift_ = Shift<C>::none(maximum);
        if (maximum >= 0 && maximum <= Shift<C>::end) return;
        shift_ = Shift<C>::of(maximum);
        sum = shift_.finite ? row_exponentials(x, e, cols, shift_) : std::numeric_limits<double>::quiet_NaN();
    }

    double sum;                  // S; NaN for a row without a finite maximum or with a NaN
    double rest = 0;             // S without the dominant column
    std::int64_t dominant = -1;  // the column that is known to hold more than half of S

    // Makes `column` the dominant one if it holds more than half of S.
    FASTNORM_INLINE void try_dominant(std::int64_t column) {
        if (!(2 * double(e_[column]) > sum)) return;
        dominant = column;
        rest = row_rest(e_, cols_, column);
    }
    // Finds the dominant column if there is one: then lift < log(2) = 0.6931...
    FASTNORM_INLINE void find_dominant() {
        if (shift_.lift(sum) < 0.6932) try_dominant(column_of(x_, cols_, shift_.maximum));
    }

    FASTNORM_INLINE double maximum() const { return shift_.maximum; }

    // log(sum exp(x_j - maximum)): relatively accurate once the dominant column is known, if there is one.
    FASTNORM_INLINE double lift() const {
        return dominant < 0 ? shift_.lift(sum) : log1p_at(rest / double(e_[dominant]));
    }
    // 1 - softmax of a column, likewise.
    FASTNORM_INLINE double complement(std::int64_t column) const {
        return (column == dominant ? rest : sum - double(e_[column])) / sum;
    }

private:
    const T* x_;
    C* e_;
    std::int64_t cols_;
    Shift<C> shift_;
};

FASTNORM_TARGET_END
