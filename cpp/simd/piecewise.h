// Functions of t >= 0 in float as 32 polynomials of degree 6: one table row a piece, eight floats a row.
//
// The piece of t is the integer nearest to (alpha t + beta)^2, its row that number modulo 32: two fused
// operations find it, and pieces get narrower as t grows, as suits functions that fall faster and faster.
// With d = t - center the value is c0 + d (c1 + d (... + d c6)); c0 is most of it, so the value is rounded
// little more than once.
//
// In registers of 512 bits a column of the table is two registers, and one permutation looks up 16 lanes.
// Registers of 256 bits would take four permutations and three blends a column; there the rows of eight lanes
// are loaded and transposed instead. Every way the same numbers go through the same arithmetic.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

constexpr int pieces = 32;
constexpr int piece_columns = 8;  // center, c0, ..., c6

struct PiecewiseTable {
    alignas(32) float rows[pieces][piece_columns];
    float alpha, beta;
    float last_t;  // the last t that has a piece
};

template <class V>
struct Piece {
    V center, c0, c1, c2, c3, c4, c5, c6;
};

// (f(center + d) - c0) / d.
template <class V>
FASTNORM_MATH V difference_quotient(const Piece<V>& piece, V d) {
    V slope = mul_add(piece.c6, d, piece.c5);
    slope = mul_add(slope, d, piece.c4);
    slope = mul_add(slope, d, piece.c3);
    slope = mul_add(slope, d, piece.c2);
    return mul_add(slope, d, piece.c1);
}

// The row of each t in the low five bits. NaN has some row, and the polynomial then gives NaN.
template <class V>
FASTNORM_MATH auto piece_index(const PiecewiseTable& table, V t) {
    const V root = mul_add(t, broadcast<V>(table.alpha), broadcast<V>(table.beta));
    return as_bits(mul_add(root, root, broadcast<V>(0x1.8p23f)));
}

#if FASTNORM_REGISTER_BYTES == 32

// The row of each lane as an offset in bytes. They pass through memory, to be loaded as scalars one by one
// (volatile, or the compiler extracts them from the register, which takes longer).
FASTNORM_MATH void store_offsets(Bits<float, 8> index, std::uint32_t* offsets) {
    const __m256i bytes = _mm256_and_si256(_mm256_slli_epi32(index.r, 5), _mm256_set1_epi32(31 * 32));
    _mm256_store_si256(reinterpret_cast<__m256i*>(offsets), bytes);
}

// Four neighbouring columns of the rows at eight offsets.
FASTNORM_MATH void load_columns_of_rows(
    const float* first, const std::uint32_t* offsets, __m256& a, __m256& b, __m256& c, __m256& d
) {
    const auto rows = [&](int lane) FASTNORM_INLINE_LAMBDA {
        const volatile std::uint32_t& low = offsets[lane];
        const volatile std::uint32_t& high = offsets[lane + 4];
        const char* base = reinterpret_cast<const char*>(first);
        return _mm256_insertf128_ps(
            _mm256_castps128_ps256(_mm_load_ps(reinterpret_cast<const float*>(base + low))),
            _mm_load_ps(reinterpret_cast<const float*>(base + high)), 1
        );
    };
    const __m256 r0 = rows(0), r1 = rows(1), r2 = rows(2), r3 = rows(3);
    const __m256d ab_even = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1));
    const __m256d cd_even = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1));
    const __m256d ab_odd = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3));
    const __m256d cd_odd = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
    a = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_even, ab_odd));
    b = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_even, ab_odd));
    c = _mm256_castpd_ps(_mm256_unpacklo_pd(cd_even, cd_odd));
    d = _mm256_castpd_ps(_mm256_unpackhi_pd(cd_even, cd_odd));
}

// The piece of each t, of a register of them.
template <const PiecewiseTable& table, int N>
FASTNORM_MATH Piece<Vec<float, N>> piece_of(Vec<float, N> t) {
    alignas(32) std::uint32_t offsets[N];
    store_offsets(piece_index(table, t), offsets);
    Piece<Vec<float, N>> p;
    load_columns_of_rows(&table.rows[0][0], offsets, p.center.r, p.c0.r, p.c1.r, p.c2.r);
    load_columns_of_rows(&table.rows[0][4], offsets, p.c3.r, p.c4.r, p.c5.r, p.c6.r);
    return p;
}

#else

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

#if FASTNORM_REGISTER_BYTES == 64
FASTNORM_MATH Vec<float, 16> lookup32(const float* column, Bits<float, 16> index) {
    return {_mm512_permutex2var_ps(_mm512_load_ps(column), index.r, _mm512_load_ps(column + 16))};
}
FASTNORM_MATH Vec<float, 32> lookup32(const float* column, Bits<float, 32> index) {
    return {lookup32(column, index.lo), lookup32(column, index.hi)};
}
#else
template <int N>
FASTNORM_MATH Vec<float, N> lookup32(const float* column, Bits<float, N> index) {
    using V = Vec<float, N>;
    // The fifth bit as the sign of a number other than zero.
    const V sign = from_bits((index << 27) | broadcast_bits<V>(1));
    return select(sign < broadcast<V>(0), lookup16(column + 16, index), lookup16(column, index));
}
#endif

template <const PiecewiseTable& table, int N>
FASTNORM_MATH Piece<Vec<float, N>> piece_of(Vec<float, N> t) {
    static constexpr PiecewiseColumns columns = transposed(table);
    const auto index = piece_index(table, t);
    const auto column = [&](int i) FASTNORM_INLINE_LAMBDA { return lookup32(columns.of[i], index); };
    return {column(0), column(1), column(2), column(3), column(4), column(5), column(6), column(7)};
}

#endif

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

// A polynomial at t + lo, |lo| far below |t|, but for its last step: c0 + slope d + correction, where the
// correction makes good the rounding of d.
template <class V>
struct LastStep {
    V c0, slope, d, correction;
};
template <const PiecewiseTable& table, int N>
FASTNORM_MATH LastStep<Vec<float, N>> last_step(Vec<float, N> t, Vec<float, N> lo) {
    const Piece<Vec<float, N>> p = piece_of<table>(t);
    const Vec<float, N> near = t - p.center, d = near + lo, slope = difference_quotient(p, d);
    const Vec<float, N> derivative = mul_sub(broadcast<Vec<float, N>>(2), slope, p.c1);  // c1 + 2 c2 d + ...
    return {p.c0, slope, d, derivative * (lo - (d - near))};
}

FASTNORM_TARGET_END
