// Columns of rows that lie apart in memory: as many neighbouring columns as sixteen bytes hold, each as a vector whose
// lane i is row i. Pieces of sixteen bytes are brought together from memory, which is not the work of the port that
// shuffles, and transposed within them: for a register of 16 floats 12 insertions and 8 shuffles make four columns,
// where a whole square takes 64 shuffles for sixteen.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

template <class C>
constexpr int column_group = int(16 / sizeof(C));

// `step` elements from row to row.
#if !defined(FASTNORM_REGISTER_BYTES)
template <class C>
FASTNORM_INLINE void load_column_group(const C* row, std::int64_t, Vec<C, 1> (&columns)[column_group<C>]) {
    for (int j = 0; j < column_group<C>; ++j) columns[j] = load<Vec<C, 1>>(row + j);
}
#else

// The pieces of row 0, `apart`, 2 apart ...
#if FASTNORM_REGISTER_BYTES == 64
#define FASTNORM_REGISTER_NAME(name) _mm512_##name
FASTNORM_INLINE __m512 pieces(const float* row, std::int64_t apart) {
    const __m512 one = _mm512_castps128_ps512(_mm_loadu_ps(row));
    const __m512 two = _mm512_insertf32x4(one, _mm_loadu_ps(row + apart), 1);
    const __m512 three = _mm512_insertf32x4(two, _mm_loadu_ps(row + 2 * apart), 2);
    return _mm512_insertf32x4(three, _mm_loadu_ps(row + 3 * apart), 3);
}
FASTNORM_INLINE __m512d pieces(const double* row, std::int64_t apart) {
    const __m512d one = _mm512_castpd128_pd512(_mm_loadu_pd(row));
    const __m512d two = _mm512_insertf64x2(one, _mm_loadu_pd(row + apart), 1);
    const __m512d three = _mm512_insertf64x2(two, _mm_loadu_pd(row + 2 * apart), 2);
    return _mm512_insertf64x2(three, _mm_loadu_pd(row + 3 * apart), 3);
}
#elif FASTNORM_REGISTER_BYTES == 32
#define FASTNORM_REGISTER_NAME(name) _mm256_##name
FASTNORM_INLINE __m256 pieces(const float* row, std::int64_t apart) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row)), _mm_loadu_ps(row + apart), 1);
}
FASTNORM_INLINE __m256d pieces(const double* row, std::int64_t apart) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(row)), _mm_loadu_pd(row + apart), 1);
}
#else
#define FASTNORM_REGISTER_NAME(name) _mm_##name
FASTNORM_INLINE __m128 pieces(const float* row, std::int64_t) { return _mm_loadu_ps(row); }
FASTNORM_INLINE __m128d pieces(const double* row, std::int64_t) { return _mm_loadu_pd(row); }
#endif

FASTNORM_INLINE void load_column_group(const float* row, std::int64_t step, Vec<float, native<float>> (&columns)[4]) {
    const auto pair_low = [](auto a, auto b) FASTNORM_INLINE_LAMBDA {
        return FASTNORM_REGISTER_NAME(castpd_ps)(FASTNORM_REGISTER_NAME(unpacklo_pd)(
            FASTNORM_REGISTER_NAME(castps_pd)(a), FASTNORM_REGISTER_NAME(castps_pd)(b)
        ));
    };
    const auto pair_high = [](auto a, auto b) FASTNORM_INLINE_LAMBDA {
        return FASTNORM_REGISTER_NAME(castpd_ps)(FASTNORM_REGISTER_NAME(unpackhi_pd)(
            FASTNORM_REGISTER_NAME(castps_pd)(a), FASTNORM_REGISTER_NAME(castps_pd)(b)
        ));
    };
    const auto a = pieces(row, 4 * step), b = pieces(row + step, 4 * step);
    const auto c = pieces(row + 2 * step, 4 * step), d = pieces(row + 3 * step, 4 * step);
    const auto ab = FASTNORM_REGISTER_NAME(unpacklo_ps)(a, b), cd = FASTNORM_REGISTER_NAME(unpacklo_ps)(c, d);
    const auto ab_high = FASTNORM_REGISTER_NAME(unpackhi_ps)(a, b), cd_high = FASTNORM_REGISTER_NAME(unpackhi_ps)(c, d);
    columns[0] = {pair_low(ab, cd)};
    columns[1] = {pair_high(ab, cd)};
    columns[2] = {pair_low(ab_high, cd_high)};
    columns[3] = {pair_high(ab_high, cd_high)};
}
FASTNORM_INLINE void load_column_group(
    const double* row, std::int64_t step, Vec<double, native<double>> (&columns)[2]
) {
    const auto a = pieces(row, 2 * step), b = pieces(row + step, 2 * step);
    columns[0] = {FASTNORM_REGISTER_NAME(unpacklo_pd)(a, b)};
    columns[1] = {FASTNORM_REGISTER_NAME(unpackhi_pd)(a, b)};
}
#undef FASTNORM_REGISTER_NAME
#endif

template <class C, int N>
FASTNORM_INLINE void load_column_group(const C* row, std::int64_t step, Vec<C, N> (&columns)[column_group<C>]) {
    Vec<C, N / 2> lower_rows[column_group<C>], upper_rows[column_group<C>];
    load_column_group(row, step, lower_rows);
    load_column_group(row + N / 2 * step, step, upper_rows);
    for (int j = 0; j < column_group<C>; ++j) columns[j] = join(lower_rows[j], upper_rows[j]);
}

FASTNORM_TARGET_END
