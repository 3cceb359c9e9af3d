// Functions of t in float as polynomials by pieces: one table row a piece.
//
// The row of t is a number of few operations, modulo the number of pieces, with r = alpha t + beta:
//   the integer nearest to r^2 / unit      pieces that get narrower as t grows, as suits functions that fall
//                                          faster and faster, or, with alpha < 0, wider
//   the integer nearest to r min(r, bend)  alpha < 0: pieces of one width, then half as wide, then wider and
//                                          wider, as suits functions whose poles are near one place
//   the bits of r from `shift` on          pieces of one width up to a power of two of r, twice as wide from
//                                          there on, and so on; no multiplication where alpha is 1
// With d = t - center the value is c0 + d (c1 + d (... + d cn)); c0 is most of it, so the value is rounded
// little more than once. Where the last coefficients may be coarse, one number holds both (`packed`): the one
// before the last as it is, and the last as the float that its bits are when they are moved up.
//
// In registers of 512 bits a column of the table is one register or two, and one permutation looks up 16
// lanes. Targets without such permutations load the rows of a register's lanes and transpose them
// (most_looked_up), or look up parts of a column. Every way the same numbers go through the same arithmetic.
#pragma once

#include <type_traits>

#include "simd/math.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

constexpr int piece_columns = 8;  // center, c0, ..., cn, nothing

template <int pieces_, int degree_, int packed_ = 0>
struct PiecewiseTable {
    static constexpr int pieces = pieces_, degree = degree_;
    static constexpr int packed = packed_;  // by how many places the bits of the last coefficient move
    static constexpr int columns = degree + (packed > 0 ? 1 : 2);
    alignas(32) float rows[pieces][piece_columns];
    float alpha, beta;
    float first_t, last_t;  // the ends of the pieces
    // The last t at which the error is relative to the value; beyond it, in one wide piece, it is small
    // beside 1.
    float far_t;
    float last_root;  // where there is a wide piece, an r within it
    float bend, unit;
    int shift;
};

template <const auto& table>
using TableOf = std::remove_cv_t<std::remove_reference_t<decltype(table)>>;

template <class V, int degree>
struct Piece {
    V center, c[degree + 1];
};
template <const auto& table, int N>
using PieceOf = Piece<Vec<float, N>, TableOf<table>::degree>;

// (f(center + d) - c0) / d is c1 + curvature d.
template <class V, int degree>
FASTNORM_MATH V curvature(const Piece<V, degree>& piece, V d) {
    V result = piece.c[degree];
    FASTNORM_UNROLL
    for (int k = degree - 1; k >= 2; --k) result = mul_add(result, d, piece.c[k]);
    return result;
}
template <class V, int degree>
FASTNORM_MATH V difference_quotient(const Piece<V, degree>& piece, V d) {
    return mul_add(curvature(piece, d), d, piece.c[1]);
}

// The row of each t in the lowest bits. NaN has some row, and the polynomial then gives NaN. Unless t is
// `bounded`, what lies in the wide piece or beyond it has any row.
template <const auto& table, bool bounded, class V>
FASTNORM_MATH auto piece_index(V t) {
    const V beta = broadcast<V>(table.beta);
    const V any_root = table.alpha == 1 ? t + beta : mul_add(t, broadcast<V>(table.alpha), beta);
    const V root = bounded && table.last_root > 0 ? min(broadcast<V>(table.last_root), any_root) : any_root;
    if constexpr (table.shift > 0) {
        return as_bits(root) >> table.shift;
    } else {
        // The sum leaves no bits below `unit`.
        const V other = table.bend > 0 ? min(broadcast<V>(table.bend), root) : root;
        return as_bits(mul_add(root, other, broadcast<V>(0x1.8p23f * table.unit)));
    }
}

template <class Table>
struct PiecewiseColumns {
    alignas(64) float of[Table::columns][Table::pieces];
};
template <class Table>
constexpr PiecewiseColumns<Table> transposed(const Table& table) {
    PiecewiseColumns<Table> columns{};
    for (int row = 0; row < Table::pieces; ++row) {
        for (int column = 0; column < Table::columns; ++column)
            columns.of[column][row] = table.rows[row][column];
    }
    return columns;
}

// The piece of each t: of one register where rows are looked up.
template <const auto& table, bool bounded = true, int N>
FASTNORM_MATH PieceOf<table, N> piece_of(Vec<float, N> t) {
    using V = Vec<float, N>;
    using Table = TableOf<table>;
    const auto index = piece_index<table, bounded>(t);
    PieceOf<table, N> piece;
    if constexpr (Table::pieces > most_looked_up) {
        // Offsets of the rows in bytes. They pass through memory, to be loaded as scalars one by one
        // (volatile, or the compiler extracts them from the register, which takes longer).
        alignas(64) std::uint32_t offsets[N];
        store_bits(offsets, (index << 5) & broadcast_bits<V>((Table::pieces - 1) * piece_columns * 4));
        const auto row_from = [&](const float* first) FASTNORM_INLINE_LAMBDA {
            return [&offsets, first](int lane) FASTNORM_INLINE_LAMBDA {
                const volatile std::uint32_t& offset = offsets[lane];
                return reinterpret_cast<const float*>(reinterpret_cast<const char*>(first) + offset);
            };
        };
        V near[4], far[4];
        load_column_group(row_from(&table.rows[0][0]), near);
        load_column_group(row_from(&table.rows[0][4]), far);
        piece.center = near[0];
        FASTNORM_UNROLL
        for (int k = 0; k + 1 < Table::columns; ++k) piece.c[k] = k < 3 ? near[k + 1] : far[k - 3];
    } else {
        static constexpr auto columns = transposed(table);
        const auto column = [&](int i) FASTNORM_INLINE_LAMBDA {
            if constexpr (Table::pieces == 16) {
                return lookup16(columns.of[i], index);
            } else {
                return lookup32(columns.of[i], index);
            }
        };
        piece.center = column(0);
        FASTNORM_UNROLL
        for (int k = 0; k + 1 < Table::columns; ++k) piece.c[k] = column(k + 1);
    }
    if constexpr (Table::packed > 0) {
        piece.c[Table::degree] = from_bits(as_bits(piece.c[Table::degree - 1]) << Table::packed);
    }
    return piece;
}

// The value at t. With `linear`, the first piece has t itself for c0 (its table entry is huge, those of the
// others are below their pieces): a function that begins as t keeps its relative accuracy there. Unless t is
// `bounded` by last_t, what is beyond far_t has any value.
template <const auto& table, bool linear, bool bounded = true, int N>
FASTNORM_MATH Vec<float, N> piecewise(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        return {piecewise<table, linear, bounded>(t.lo), piecewise<table, linear, bounded>(t.hi)};
    } else {
        const PieceOf<table, N> p = piece_of<table, bounded>(t);
        const Vec<float, N> d = t - p.center;
        return mul_add(difference_quotient(p, d), d, linear ? min(p.c[0], t) : p.c[0]);
    }
}

// The value at t as the float nearest to it and the rest.
template <const auto& table, int N>
FASTNORM_MATH Pair<Vec<float, N>> piecewise_pair(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        const auto lo = piecewise_pair<table>(t.lo), hi = piecewise_pair<table>(t.hi);
        return {{lo.hi, hi.hi}, {lo.lo, hi.lo}};
    } else {
        const PieceOf<table, N> p = piece_of<table>(t);
        const Vec<float, N> d = t - p.center, slope = difference_quotient(p, d);
        const Vec<float, N> value = mul_add(slope, d, p.c[0]);
        return {value, mul_add(slope, d, p.c[0] - value)};
    }
}

// The value at t of a function with a zero at a center: beside it slope d is nearly all of the value, and the
// rounding of the slope is made good.
template <const auto& table, int N>
FASTNORM_MATH Vec<float, N> piecewise_with_zero(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        return {piecewise_with_zero<table>(t.lo), piecewise_with_zero<table>(t.hi)};
    } else {
        const PieceOf<table, N> p = piece_of<table>(t);
        const Vec<float, N> d = t - p.center, bend = curvature(p, d), slope = mul_add(bend, d, p.c[1]);
        const Vec<float, N> slope_rest = mul_add(bend, d, p.c[1] - slope);
        return mul_add(slope, d, mul_add(slope_rest, d, p.c[0]));
    }
}

// A polynomial at t + lo, |lo| far below |t|, but for its last step: c0 + slope d + correction, where the
// correction makes good the rounding of d; slope_rest is what the rounding of the slope took.
template <class V>
struct LastStep {
    V c0, slope, d, correction, slope_rest;
};
template <const auto& table, int N>
FASTNORM_MATH LastStep<Vec<float, N>> last_step(Vec<float, N> t, Vec<float, N> lo) {
    const PieceOf<table, N> p = piece_of<table>(t);
    const Vec<float, N> near = t - p.center, d = near + lo, bend = curvature(p, d);
    const Vec<float, N> slope = mul_add(bend, d, p.c[1]);
    const Vec<float, N> derivative =
        mul_sub(broadcast<Vec<float, N>>(2), slope, p.c[1]);  // c1 + 2 c2 d + ...
    return {p.c[0], slope, d, derivative * (lo - (d - near)), mul_add(bend, d, p.c[1] - slope)};
}

FASTNORM_TARGET_END
