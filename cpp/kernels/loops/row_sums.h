// Sums over a row in lanes of the compute type, folded into doubles.
#pragma once

#include <utility>

#include "kernels/loops/elementwise.h"
#include "kernels/loops/folding.h"

FASTNORM_TARGET_BEGIN

// Two sums at once.
template <class V>
FASTNORM_INLINE Both<V> operator+(const Both<V>& a, const Both<V>& b) {
    return {a.first + b.first, a.second + b.second};
}
template <class V>
FASTNORM_INLINE auto to_double(const Both<V>& a) {
    using D = decltype(to_double(a.first));
    return Both<D>{to_double(a.first), to_double(a.second)};
}
template <class V>
struct Zero {
    static FASTNORM_INLINE V value() { return broadcast<V>(0); }
};
template <class V>
struct Zero<Both<V>> {
    static FASTNORM_INLINE Both<V> value() { return {Zero<V>::value(), Zero<V>::value()}; }
};

// Sums of terms(j, step) over the columns in row_lanes lanes: of doubles, or of floats that are added in
// quads as pairs of pairs, and columns_together of them before they become doubles. The last columns that
// fill no quad are one of their own.
template <class C, class Terms>
FASTNORM_INLINE auto sum_in_lanes(std::int64_t cols, Terms terms) {
    using Term = decltype(terms(std::int64_t(0), Whole{}));
    auto total = to_double(Zero<Term>::value());
    if constexpr (sizeof(C) == 8) {
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            total = total + terms(j, step);
        });
    } else {
        constexpr std::int64_t quad = 4 * row_lanes;
        const auto some = [&](std::int64_t first, std::int64_t end) FASTNORM_INLINE_LAMBDA {
            Term parts[4];
            for (Term& part : parts) part = Zero<Term>::value();
            Term* next = parts;
            for_columns<row_lanes>(first, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                *next++ = terms(j, step);
            });
            return (parts[0] + parts[1]) + (parts[2] + parts[3]);
        };
        const auto all = [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
            const Term a = terms(j, Whole{}), b = terms(j + row_lanes, Whole{});
            const Term c = terms(j + 2 * row_lanes, Whole{}), d = terms(j + 3 * row_lanes, Whole{});
            return (a + b) + (c + d);
        };
        const std::int64_t whole = cols / quad * quad;
        std::int64_t j = 0;
        while (j < cols) {
            const std::int64_t end = j < whole ? smaller(j + columns_together, whole) : cols;
            Term part = Zero<Term>::value();
            if constexpr (is_compact) {
                for (; j < end; j += quad) part = part + some(j, smaller(j + quad, end));
            } else if (j < whole) {
                for (; j < end; j += quad) part = part + all(j);
            } else {
                part = some(j, end);
                j = end;
            }
            total = total + to_double(part);
        }
    }
    return total;
}
template <class C, class Terms>
FASTNORM_INLINE double sum_columns(std::int64_t cols, Terms terms) {
    return sum(sum_in_lanes<C>(cols, terms));
}

// sum x_j, and sum x_j e_j.
template <class C, class T>
double row_sum(const T* x, std::int64_t cols) {
    using V = Vec<C, row_lanes>;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return load_columns<V>(x + j, step);
    });
}
template <class C, class T>
double row_dot(const T* x, const C* e, std::int64_t cols) {
    using V = Vec<C, row_lanes>;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return load_columns<V>(x + j, step) * load_columns<V>(e + j, step);
    });
}

// The column of the first element above `value`; the last column where none is.
template <class C>
std::int64_t column_above(const C* e, std::int64_t cols, C value) {
    using V = Vec<C, row_lanes>;
    const V values = broadcast<V>(value);
    std::int64_t j = 0;
    while (j + row_lanes <= cols && !any(load_row<V>(e + j) > values)) j += row_lanes;
    if (j == cols) return cols - 1;
    while (j < cols - 1 && !(e[j] > value)) ++j;
    return j;
}

FASTNORM_TARGET_END
