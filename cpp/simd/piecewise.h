// Functions of t in float as 32 polynomials of degree 6: one table row a piece, eight floats a row.
//
// The piece of t is the integer nearest to (alpha t + beta)^2, its row that number modulo 32: two fused
// operations find it, and pieces get narrower as t grows, as suits functions that fall faster and faster, or
// wider. With a `bend` it is the integer nearest to r min(r, bend), r = alpha t + beta, alpha < 0: pieces of
// one width, then half as wide, then wider and wider, as suits functions whose poles are near one place.
// With d = t - center the value is c0 + d (c1 + d (... + d c6)); c0 is most of it, so the value is rounded
// little more than once.
//
// In registers of 512 bits a column of the table is two registers, and one permutation looks up 16 lanes.
// Targets without such permutations load the rows of a register's lanes and transpose them (looks_up_rows),
// or look up each half of a column. Every way the same numbers go through the same arithmetic.
#pragma once

#include "simd/math.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

constexpr int pieces = 32;
constexpr int piece_columns = 8;  // center, c0, ..., c6

struct PiecewiseTable {
    alignas(32) float rows[pieces][piece_columns];
    float alpha, beta;
    float last_t;       // the last t that has a piece
    float first_t = 0;  // the first one
    float bend = 0;
};

template <class V>
struct Piece {
    V center, c0, c1, c2, c3, c4, c5, c6;
};

// (f(center + d) - c0) / d is c1 + curvature d.
template <class V>
FASTNORM_MATH V curvature(const Piece<V>& piece, V d) {
    V result = mul_add(piece.c6, d, piece.c5);
    result = mul_add(result, d, piece.c4);
    result = mul_add(result, d, piece.c3);
    return mul_add(result, d, piece.c2);
}
template <class V>
FASTNORM_MATH V difference_quotient(const Piece<V>& piece, V d) {
    return mul_add(curvature(piece, d), d, piece.c1);
}

// The row of each t in the low five bits. NaN has some row, and the polynomial then gives NaN.
template <class V>
FASTNORM_MATH auto piece_index(const PiecewiseTable& table, V t) {
    const V root = mul_add(t, broadcast<V>(table.alpha), broadcast<V>(table.beta));
    const V other = table.bend > 0 ? min(broadcast<V>(table.bend), root) : root;
    return as_bits(mul_add(root, other, broadcast<V>(0x1.8p23f)));
}

struct PiecewiseColumns {
    alignas(64) float of[piece_columns][pieces];
};
constexpr PiecewiseColumns transposed(const PiecewiseTable& table) {
    PiecewiseColumns columns{};
    for (int row = 0; row < pieces; ++row) {
        for (int column = 0; column < piece_columns; ++column)
            columns.of[column][row] = table.rows[row][column];
    }
    return columns;
}

// The piece of each t: of one register where rows are looked up.
template <const PiecewiseTable& table, int N>
FASTNORM_MATH Piece<Vec<float, N>> piece_of(Vec<float, N> t) {
    using V = Vec<float, N>;
    const auto index = piece_index(table, t);
    if constexpr (looks_up_rows) {
        // Offsets of the rows in bytes. They pass through memory, to be loaded as scalars one by one
        // (volatile, or the compiler extracts them from the register, which takes longer).
        alignas(64) std::uint32_t offsets[N];
        store_bits(offsets, (index << 5) & broadcast_bits<V>((pieces - 1) * piece_columns * 4));
        const auto row_from = [&](const float* first) FASTNORM_INLINE_LAMBDA {
            return [&offsets, first](int lane) FASTNORM_INLINE_LAMBDA {
                const volatile std::uint32_t& offset = offsets[lane];
                return reinterpret_cast<const float*>(reinterpret_cast<const char*>(first) + offset);
            };
        };
        V near[4], far[4];
        load_column_group(row_from(&table.rows[0][0]), near);
        load_column_group(row_from(&table.rows[0][4]), far);
        return {near[0], near[1], near[2], near[3], far[0], far[1], far[2], far[3]};
    } else {
        static constexpr PiecewiseColumns columns = transposed(table);
        const auto column = [&](int i) FASTNORM_INLINE_LAMBDA { return lookup32(columns.of[i], index); };
        return {column(0), column(1), column(2), column(3), column(4), column(5), column(6), column(7)};
    }
}

// The value at t. With `linear`, the first piece has t itself for c0 (its table entry is huge, those of the
// others are below their pieces): a function that begins as t keeps its relative accuracy there.
template <const PiecewiseTable& table, bool linear, int N>
FASTNORM_MATH Vec<float, N> piecewise(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        return {piecewise<table, linear>(t.lo), piecewise<table, linear>(t.hi)};
    } else {
        const Piece<Vec<float, N>> p = piece_of<table>(t);
        const Vec<float, N> d = t - p.center;
        return mul_add(difference_quotient(p, d), d, linear ? min(p.c0, t) : p.c0);
    }
}

// The value at t as the float nearest to it and the rest.
template <const PiecewiseTable& table, int N>
FASTNORM_MATH Pair<Vec<float, N>> piecewise_pair(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        const auto lo = piecewise_pair<table>(t.lo), hi = piecewise_pair<table>(t.hi);
        return {{lo.hi, hi.hi}, {lo.lo, hi.lo}};
    } else {
        const Piece<Vec<float, N>> p = piece_of<table>(t);
        const Vec<float, N> d = t - p.center, slope = difference_quotient(p, d);
        const Vec<float, N> value = mul_add(slope, d, p.c0);
        return {value, mul_add(slope, d, p.c0 - value)};
    }
}

// The value at t of a function with a zero at a center: beside it slope d is nearly all of the value, and the
// rounding of the slope is made good.
template <const PiecewiseTable& table, int N>
FASTNORM_MATH Vec<float, N> piecewise_with_zero(Vec<float, N> t) {
    if constexpr (N > native<float>) {
        return {piecewise_with_zero<table>(t.lo), piecewise_with_zero<table>(t.hi)};
    } else {
        const Piece<Vec<float, N>> p = piece_of<table>(t);
        const Vec<float, N> d = t - p.center, bend = curvature(p, d), slope = mul_add(bend, d, p.c1);
        const Vec<float, N> slope_rest = mul_add(bend, d, p.c1 - slope);
        return mul_add(slope, d, mul_add(slope_rest, d, p.c0));
    }
}

// A polynomial at t + lo, |lo| far below |t|, but for its last step: c0 + slope d + correction, where the
// correction makes good the rounding of d; slope_rest is what the rounding of the slope took.
template <class V>
struct LastStep {
    V c0, slope, d, correction, slope_rest;
};
template <const PiecewiseTable& table, int N>
FASTNORM_MATH LastStep<Vec<float, N>> last_step(Vec<float, N> t, Vec<float, N> lo) {
    const Piece<Vec<float, N>> p = piece_of<table>(t);
    const Vec<float, N> near = t - p.center, d = near + lo, bend = curvature(p, d);
    const Vec<float, N> slope = mul_add(bend, d, p.c1);
    const Vec<float, N> derivative = mul_sub(broadcast<Vec<float, N>>(2), slope, p.c1);  // c1 + 2 c2 d + ...
    return {p.c0, slope, d, derivative * (lo - (d - near)), mul_add(bend, d, p.c1 - slope)};
}

FASTNORM_TARGET_END
