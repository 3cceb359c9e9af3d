// The gradients of swish for x and beta of runs of elements: what the loops over rows call.
//
// The terms of dbeta are rounded to the compute type and added up in double. Sums that may have lost digits
// because a factor overflowed or vanished are computed again from terms in double (is_accurate).
#pragma once

#include <type_traits>

#include "kernels/activations/swish.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

template <class T, int N>
FASTNORM_INLINE SwishGradients<Vec<T, N>> swish_gradients(Vec<T, N> g, Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return {g * swish_derivative(x, beta), SwishDouble<PairArithmetic, N>::beta_term(g, x, beta)};
    } else if constexpr (has_fma) {
        return swish_gradients_float(g, x, beta);
    } else {
        return {g * swish_derivative(x, beta), to_float(wide_swish_beta_term(g, x, beta))};
    }
}

// The period where every element has its own.
constexpr std::int64_t no_period = std::int64_t(1) << 62;

// What becomes of the terms of dbeta: they are added to sums in double, beta being 1 or not, or stored.
enum class BetaTerms { summed, summed_of_ones, stored };

// dx of whole vectors. Of beta and sums, or terms, elements i modulo `period` belong to element i.
template <class T, BetaTerms kind>
FASTNORM_OUTLINE void swish_vectors(
    const T* dy, const T* x, T* dx, const compute_t<T>* beta, void* terms, std::int64_t count,
    std::int64_t period
) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    for (std::int64_t i = 0, at = 0; i < count; i += lanes) {
        const V g = load<V>(dy + i), v = load<V>(x + i);
        SwishGradients<V> gradients;
        if constexpr (kind == BetaTerms::summed_of_ones) {
            gradients = silu_gradients_float(g, v);
        } else {
            gradients = swish_gradients(g, v, load<V>(beta + at));
        }
        if constexpr (kind == BetaTerms::stored) {
            store(static_cast<C*>(terms) + at, gradients.beta_term);
        } else {
            double* const place = static_cast<double*>(terms) + at;
            const auto sum = load<Vec<double, lanes>>(place);
            if constexpr (sizeof(C) == 8) {
                store(place, sum + gradients.beta_term);
            } else {
                store(place, sum + to_double(gradients.beta_term));
            }
        }
        store(dx + i, gradients.dx);
        at += lanes;
        if (at == period) at = 0;
    }
}

// The same of any count: what does not fill a vector goes through one of its own. S is the type of `terms`.
template <class T, BetaTerms kind, class S>
FASTNORM_OUTLINE void swish_row(
    const void* given_dy, const void* given_x, void* result, const compute_t<T>* beta, S* terms,
    std::int64_t count, std::int64_t period
) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    using Terms = Vec<S, lanes>;
    const T *const dy = static_cast<const T*>(given_dy), *const x = static_cast<const T*>(given_x);
    T* const dx = static_cast<T*>(result);
    const int rest = int(count % lanes);
    const std::int64_t whole = count - rest, at = rest > 0 ? whole % period : 0;
    if (whole > 0) swish_vectors<T, kind>(dy, x, dx, beta, terms, whole, period);
    if (rest == 0) return;
    T padded[3][lanes];
    C padded_beta[lanes];
    S padded_terms[lanes];
    S* const place = terms + at;
    store(padded[0], load_partial<V>(dy + whole, rest, 0));
    store(padded[1], load_partial<V>(x + whole, rest, 0));
    store(padded_beta, load_partial<V>(beta + at, rest, 0));
    store(padded_terms, load_partial<Terms>(place, rest, 0));
    swish_vectors<T, kind>(padded[0], padded[1], padded[2], padded_beta, padded_terms, lanes, lanes);
    store_partial(dx + whole, load<V>(padded[2]), rest);
    store_partial(place, load<Terms>(padded_terms), rest);
}

// Whether sums of terms g x * x s (1 - s) in float lost nothing. As |x s (1 - s)| < 0.23/|beta|, a first
// factor that vanished, below 2^-149, makes the sum err by less than 2^-123 for each of its terms, of which
// there are 2^12.
constexpr double least_accurate = 0x1p-80, most_accurate = 0x1p127, least_ordinary = 0x1p-28;
template <class V>
FASTNORM_INLINE auto is_accurate(V sum) {
    using S = element_t<V>;
    return (abs(sum) >= broadcast<V>(S(least_accurate))) & (abs(sum) <= broadcast<V>(S(most_accurate)));
}
template <class V>
FASTNORM_INLINE auto is_ordinary(V beta) {
    return abs(beta) >= broadcast<V>(element_t<V>(least_ordinary));
}

template <class S, class C>
FASTNORM_OUTLINE bool are_accurate(const S* sums, const C* beta, std::int64_t count) {
    if constexpr (sizeof(C) == 4) {
        constexpr int lanes = native<C>;
        for (std::int64_t j = 0; j < count; j += lanes) {
            const int some = int(smaller(lanes, count - j));
            if (any(!is_accurate(load_partial<Vec<S, lanes>>(sums + j, some, 1)))) return false;
            if (any(!is_ordinary(load_partial<Vec<C, lanes>>(beta + j, some, 1)))) return false;
        }
    }
    return true;
}

// 1 for sums that may have lost digits, else 0.
template <class S, class C>
FASTNORM_RARE void mark_doubtful(const S* sums, const C* beta, C* marks, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) marks[j] = are_accurate(sums + j, beta + j, 1) ? C(0) : C(1);
}

// Adds the terms of marked lanes to `again`, in double. Vectors without any, or where such terms are 0, are
// passed over.
template <class T>
FASTNORM_RARE void add_wide_terms(
    const void* given_dy, const void* given_x, const compute_t<T>* beta, const compute_t<T>* marks,
    double* again, std::int64_t count, std::int64_t period
) {
    if constexpr (sizeof(T) < 8) {
        const T *const dy = static_cast<const T*>(given_dy), *const x = static_cast<const T*>(given_x);
        constexpr int lanes = native<float>;
        using V = Vec<float, lanes>;
        using Wide = Vec<double, lanes>;
        for (std::int64_t i = 0; i < count; i += lanes) {
            const int some = int(smaller(lanes, count - i));
            const V g = load_partial<V>(dy + i, some, 0), v = load_partial<V>(x + i, some, 0);
            const V mark = load_partial<V>(marks + i % period, some, 0), zero = broadcast<V>(0);
            const V factor = load_partial<V>(beta + i % period, some, 1);
            const auto is_zero = ((g == zero) | (v == zero)) & (g * v * factor == zero);
            if (!any(!((mark == zero) | is_zero))) continue;
            double* const place = again + i % period;
            const Wide total = load_partial<Wide>(place, some, 0) + wide_swish_beta_term(g, v, factor);
            store_partial(place, total, some);
        }
    }
}

// What the loops over rows call, so that they exist once for a size of elements and a compute type C.
template <class C>
struct SwishRowFunctions {
    template <class Terms>
    using Row = void (*)(
        const void* dy, const void* x, void* dx, const C* beta, Terms* terms, std::int64_t count,
        std::int64_t period
    );
    Row<double> summed, summed_of_ones;
    Row<C> stored;
    void (*add_wide_terms)(
        const void* dy, const void* x, const C* beta, const C* marks, double* again, std::int64_t count,
        std::int64_t period
    );
};
template <class T>
constexpr bool has_ones = sizeof(T) < 8 && has_fma;  // else they are like any other beta
template <class T>
constexpr SwishRowFunctions<compute_t<T>> swish_row_functions = {
    swish_row<T, BetaTerms::summed, double>,
    swish_row < T,
    has_ones<T> ? BetaTerms::summed_of_ones : BetaTerms::summed,
    double >
    , swish_row<T, BetaTerms::stored, compute_t<T>>, add_wide_terms<T>,
};

FASTNORM_TARGET_END
