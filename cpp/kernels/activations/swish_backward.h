// The gradients of swish for x and beta: loops over rows whose elements share one beta, and over rows that
// share a row of betas.
//
// The terms of dbeta are rounded to the compute type and added up in it: those of a row in row_lanes lanes
// for products_together columns, those of a column for fold_rows rows. Their sums are added in double; the
// order follows from the shape of x and beta alone. Sums in float that may have lost digits because a factor
// overflowed or vanished are computed again in double (is_accurate).
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/activations/swish.h"
#include "kernels/loops/row_span.h"
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

// What becomes of the terms of dbeta: they are added to sums in double, beta being 1 or not, or stored.
enum class BetaTerms { summed, summed_of_ones, stored };

// dx of whole vectors. Of beta and sums, or terms, elements i & mask belong to element i.
template <class T, BetaTerms kind>
FASTNORM_OUTLINE void swish_vectors(
    const T* dy, const T* x, T* dx, const compute_t<T>* beta, void* terms, std::int64_t count,
    std::int64_t mask
) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    for (std::int64_t i = 0; i < count; i += lanes) {
        const V g = load<V>(dy + i), v = load<V>(x + i);
        SwishGradients<V> gradients;
        if constexpr (kind == BetaTerms::summed_of_ones) {
            gradients = silu_gradients_float(g, v);
        } else {
            gradients = swish_gradients(g, v, load<V>(beta + (i & mask)));
        }
        if constexpr (kind == BetaTerms::stored) {
            store(static_cast<C*>(terms) + (i & mask), gradients.beta_term);
        } else {
            double* const place = static_cast<double*>(terms) + (i & mask);
            const auto sum = load<Vec<double, lanes>>(place);
            if constexpr (sizeof(C) == 8) {
                store(place, sum + gradients.beta_term);
            } else {
                store(place, sum + to_double(gradients.beta_term));
            }
        }
        store(dx + i, gradients.dx);
    }
}

// The same of any count: what does not fill a vector goes through one of its own. S is the type of `terms`.
template <class T, BetaTerms kind, class S>
FASTNORM_OUTLINE void swish_row(
    const void* given_dy, const void* given_x, void* result, const compute_t<T>* beta, S* terms,
    std::int64_t count, std::int64_t mask
) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    using Terms = Vec<S, lanes>;
    const T *const dy = static_cast<const T*>(given_dy), *const x = static_cast<const T*>(given_x);
    T* const dx = static_cast<T*>(result);
    const int rest = int(count % lanes);
    const std::int64_t whole = count - rest;
    if (whole > 0) swish_vectors<T, kind>(dy, x, dx, beta, terms, whole, mask);
    if (rest == 0) return;
    T padded[3][lanes];
    C padded_beta[lanes];
    S padded_terms[lanes];
    S* const place = terms + (whole & mask);
    store(padded[0], load_partial<V>(dy + whole, rest, 0));
    store(padded[1], load_partial<V>(x + whole, rest, 0));
    store(padded_beta, load_partial<V>(beta + (whole & mask), rest, 0));
    store(padded_terms, load_partial<Terms>(place, rest, 0));
    swish_vectors<T, kind>(padded[0], padded[1], padded[2], padded_beta, padded_terms, lanes, lanes - 1);
    store_partial(dx + whole, load<V>(padded[2]), rest);
    store_partial(place, load<Terms>(padded_terms), rest);
}

// Whether sums of terms g x * x s (1 - s) in float lost nothing. As |x s (1 - s)| < 0.23/|beta|, a first
// factor that vanished, below 2^-149, makes the sum err by less than 2^-123 for each term.
template <class V>
FASTNORM_INLINE auto is_accurate(V sum) {
    return (abs(sum) >= broadcast<V>(0x1p-90)) & (abs(sum) <= broadcast<V>(0x1p127));
}
template <class V>
FASTNORM_INLINE auto is_ordinary(V beta) {
    return abs(beta) >= broadcast<V>(0x1p-28f);
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
    double* again, std::int64_t count, std::int64_t mask
) {
    if constexpr (sizeof(T) < 8) {
        const T *const dy = static_cast<const T*>(given_dy), *const x = static_cast<const T*>(given_x);
        constexpr int lanes = native<float>;
        using V = Vec<float, lanes>;
        using Wide = Vec<double, lanes>;
        for (std::int64_t i = 0; i < count; i += lanes) {
            const int some = int(smaller(lanes, count - i));
            const V g = load_partial<V>(dy + i, some, 0), v = load_partial<V>(x + i, some, 0);
            const V mark = load_partial<V>(marks + (i & mask), some, 0), zero = broadcast<V>(0);
            const V factor = load_partial<V>(beta + (i & mask), some, 1);
            const auto is_zero = ((g == zero) | (v == zero)) & (g * v * factor == zero);
            if (!any(!((mark == zero) | is_zero))) continue;
            double* const place = again + (i & mask);
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
        std::int64_t mask
    );
    Row<double> summed, summed_of_ones;
    Row<C> stored;
    void (*add_wide_terms)(
        const void* dy, const void* x, const C* beta, const C* marks, double* again, std::int64_t count,
        std::int64_t mask
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

// A sum is in memory, and stays there for some vectors before it is loaded again: one loaded at once waited
// for the store, 226 us and 176 from one process to the next (512 x 768, two Zen 4 cores).
constexpr int swish_lanes = 4 * row_lanes;

// dx of segments [begin, end) of rows with one beta each, and the share of each segment in its dbeta.
template <class S, class C>
FASTNORM_OUTLINE void swish_rows(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    constexpr std::int64_t lanes = swish_lanes, mask = lanes - 1;
    S* space = static_cast<S*>(scratch);
    alignas(64) C beta[lanes];
    const RowSpan<S> dy(task.shape, task.dy, space), x(task.shape, task.x, space + segment_elements),
        dx(task.shape, task.dx, space + 2 * segment_elements);
    const RowSpan<C> betas(task.shape, task.beta, beta);
    const std::int64_t per_row = segments_per_row(task);
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = segment / per_row, column = segment % per_row * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        const std::int64_t used = smaller(count, lanes);
        const S* const upstream = dy.fetch(row, column, count);
        const S* const source = x.fetch(row, column, count);
        const C factor = *betas.fetch(row, 0, 1);
        for (C& lane : beta) lane = factor;
        alignas(64) double sums[lanes] = {};
        const auto add = factor == 1 ? of.summed_of_ones : of.summed;
        add(upstream, source, dx.place(row, column), beta, sums, count, mask);
        if (!are_accurate(sums, beta, used)) {
            C marks[lanes] = {};
            double again[lanes] = {};
            mark_doubtful(sums, beta, marks, used);
            of.add_wide_terms(upstream, source, beta, marks, again, count, mask);
            for (int lane = 0; lane < used; ++lane) {
                if (marks[lane] == 1) sums[lane] = again[lane];
            }
        }
        task.shares[segment] = sum(load<Vec<double, lanes>>(sums));
        dx.write_back(row, column, count);
    }
}

// dx of units [begin, end), strips of blocks of rows that share a row of betas, and the share of each in
// dbeta, or dbeta itself where there are no shares.
template <class S, class C>
FASTNORM_OUTLINE void swish_columns(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    const std::int64_t width = task.strip, cols = task.shape.cols, strips = (cols + width - 1) / width;
    const std::int64_t blocks = (task.shared_rows + task.block_rows - 1) / task.block_rows;
    double* const totals = static_cast<double*>(scratch);
    double* const again = totals + width;
    C* const marks = reinterpret_cast<C*>(again + width);
    S* const space = reinterpret_cast<S*>(marks + 3 * width);
    const RowSpan<C> beta(task.shape, task.beta, marks + width),
        dbeta(task.shape, task.dbeta, marks + 2 * width);
    const RowSpan<S> dy(task.shape, task.dy, space), x(task.shape, task.x, space + width),
        dx(task.shape, task.dx, space + 2 * width);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t place = unit / strips, column = unit % strips * width;
        const std::int64_t count = smaller(width, cols - column);
        const std::int64_t group = place / blocks * task.shared_rows;
        const std::int64_t first = group + place % blocks * task.block_rows;
        const std::int64_t last = smaller(first + task.block_rows, group + task.shared_rows);
        const C* const betas = beta.fetch(group, column, count);
        C* const result = task.shares ? nullptr : dbeta.place(group, column);
        double* const sums = task.shares ? task.shares + place * cols + column : totals;
        const bool is_stored = task.shared_rows == 1;
        const auto add = are_ones(betas, count) ? of.summed_of_ones : of.summed;
        if (!is_stored) std::memset(sums, 0, std::size_t(count) * sizeof(double));
        bool accurate = true;
        for (std::int64_t row = first; row < last;) {
            const S* const upstream = dy.fetch(row, column, count);
            const S* const source = x.fetch(row, column, count);
            if (!accurate) {
                of.add_wide_terms(upstream, source, betas, marks, again, count, -1);
            } else if (is_stored) {
                of.stored(upstream, source, dx.place(row, column), betas, result, count, -1);
            } else {
                add(upstream, source, dx.place(row, column), betas, sums, count, -1);
            }
            if (accurate) dx.write_back(row, column, count);
            if (++row < last || !accurate) continue;
            accurate = is_stored ? are_accurate(result, betas, count) : are_accurate(sums, betas, count);
            if (accurate) break;
            // The rows once more, for the terms of some columns in double.
            if (is_stored) {
                mark_doubtful(result, betas, marks, count);
            } else {
                mark_doubtful(sums, betas, marks, count);
            }
            std::memset(again, 0, std::size_t(count) * sizeof(double));
            row = first;
        }
        for (std::int64_t j = 0; !accurate && j < count; ++j) {
            if (marks[j] != 1) continue;
            if (is_stored) result[j] = C(again[j]);
            sums[j] = again[j];
        }
        if (!result) continue;
        for (std::int64_t j = 0; !is_stored && j < count; ++j) result[j] = C(sums[j]);
        dbeta.write_back(group, column, count);
    }
}

// Elements of a half type are moved as what they take.
template <class T>
using storage_t = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;

template <class T>
void swish_backward_rows(const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    swish_rows<storage_t<T>>(task, begin, end, scratch, swish_row_functions<T>);
}
template <class T>
void swish_backward_columns(const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    swish_columns<storage_t<T>>(task, begin, end, scratch, swish_row_functions<T>);
}

FASTNORM_TARGET_END
