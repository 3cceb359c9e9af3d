// 256-bit x86 registers: AVX2 with FMA and F16C.
#pragma once

#ifndef FASTNORM_REGISTER_BYTES
#define FASTNORM_REGISTER_BYTES 32
#endif

#include "simd/vec_sse2.h"

FASTNORM_TARGET_BEGIN

template <>
struct Vec<float, 8> {
    __m256 r;
};
template <>
struct Mask<float, 8> {
    __m256 r;
};
template <>
struct Bits<float, 8> {
    __m256i r;
};
template <>
struct Vec<double, 4> {
    __m256d r;
};
template <>
struct Mask<double, 4> {
    __m256d r;
};
template <>
struct Bits<double, 4> {
    __m256i r;
};

FASTNORM_REGISTER_ARITHMETIC(float, 8, _mm256, ps)
FASTNORM_REGISTER_ARITHMETIC(double, 4, _mm256, pd)
FASTNORM_REGISTER_FMA(float, 8, _mm256, ps)
FASTNORM_REGISTER_FMA(double, 4, _mm256, pd)
FASTNORM_REGISTER_BITWISE(float, 8, _mm256, ps, si256)
FASTNORM_REGISTER_BITWISE(double, 4, _mm256, pd, si256)
FASTNORM_REGISTER_INTEGERS(float, 8, _mm256, epi32)
FASTNORM_REGISTER_INTEGERS(double, 4, _mm256, epi64)
FASTNORM_INLINE Bits<double, 4> multiply_words(Bits<double, 4> a, Bits<double, 4> b) {
    return {_mm256_mul_epu32(a.r, b.r)};
}

#define FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, op, s, predicate)    \
    FASTNORM_INLINE Mask<T, N> operator op(Vec<T, N> a, Vec<T, N> b) { \
        return {_mm256_cmp_##s(a.r, b.r, predicate)};                  \
    }
#define FASTNORM_REGISTER_COMPARE_256(T, N, s)                                    \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, <, s, _CMP_LT_OQ)                   \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, <=, s, _CMP_LE_OQ)                  \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, >, s, _CMP_GT_OQ)                   \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, >=, s, _CMP_GE_OQ)                  \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, ==, s, _CMP_EQ_OQ)                  \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE(T, N, !=, s, _CMP_NEQ_UQ)                 \
    FASTNORM_INLINE Vec<T, N> select(Mask<T, N> mask, Vec<T, N> a, Vec<T, N> b) { \
        return {_mm256_blendv_##s(b.r, a.r, mask.r)};                             \
    }                                                                             \
    FASTNORM_INLINE Vec<T, N> zero_where(Mask<T, N> mask, Vec<T, N> a) {          \
        return {_mm256_andnot_##s(mask.r, a.r)};                                  \
    }
FASTNORM_REGISTER_COMPARE_256(float, 8, ps)
FASTNORM_REGISTER_COMPARE_256(double, 4, pd)

FASTNORM_INLINE Vec<float, 4> lower(Vec<float, 8> a) { return {_mm256_castps256_ps128(a.r)}; }
FASTNORM_INLINE Vec<float, 4> upper(Vec<float, 8> a) { return {_mm256_extractf128_ps(a.r, 1)}; }
FASTNORM_INLINE Vec<float, 8> join(Vec<float, 4> lo, Vec<float, 4> hi) {
    return {_mm256_set_m128(hi.r, lo.r)};
}
FASTNORM_INLINE Vec<double, 2> lower(Vec<double, 4> a) { return {_mm256_castpd256_pd128(a.r)}; }
FASTNORM_INLINE Vec<double, 2> upper(Vec<double, 4> a) { return {_mm256_extractf128_pd(a.r, 1)}; }
FASTNORM_INLINE Vec<double, 4> to_double(Vec<float, 4> a) { return {_mm256_cvtps_pd(a.r)}; }
FASTNORM_INLINE Vec<float, 4> to_float(Vec<double, 4> a) { return {_mm256_cvtpd_ps(a.r)}; }

#if FASTNORM_REGISTER_BYTES == 32
constexpr std::size_t stream_alignment = 32;
constexpr bool has_scale = false;
constexpr int register_count = 16;
constexpr int most_looked_up = 16;  // four permutations and three blends would look up 32
template <class T>
constexpr int native = 32 / int(sizeof(T));

FASTNORM_INLINE Vec<float, 8> lookup8(const float* table, Bits<float, 8> index) {
    return {_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index.r)};
}
FASTNORM_INLINE Vec<float, 8> lookup16(const float* table, Bits<float, 8> index) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index.r);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), index.r);
    return {_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index.r, 28)))};
}
FASTNORM_INLINE Vec<double, 4> lookup8(const double* table, Bits<double, 4> index) {
    return {_mm256_i64gather_pd(table, _mm256_and_si256(index.r, _mm256_set1_epi64x(7)), 8)};
}
FASTNORM_INLINE Vec<double, 4> lookup16(const double* table, Bits<double, 4> index) {
    return {_mm256_i64gather_pd(table, _mm256_and_si256(index.r, _mm256_set1_epi64x(15)), 8)};
}

FASTNORM_INLINE void interleave(Vec<float, 8> a, Vec<float, 8> b, Vec<float, 8>& lo, Vec<float, 8>& hi) {
    const __m256 even = _mm256_unpacklo_ps(a.r, b.r), odd = _mm256_unpackhi_ps(a.r, b.r);
    lo = {_mm256_permute2f128_ps(even, odd, 0x20)};
    hi = {_mm256_permute2f128_ps(even, odd, 0x31)};
}
FASTNORM_INLINE void interleave(Vec<double, 4> a, Vec<double, 4> b, Vec<double, 4>& lo, Vec<double, 4>& hi) {
    const __m256d even = _mm256_unpacklo_pd(a.r, b.r), odd = _mm256_unpackhi_pd(a.r, b.r);
    lo = {_mm256_permute2f128_pd(even, odd, 0x20)};
    hi = {_mm256_permute2f128_pd(even, odd, 0x31)};
}
FASTNORM_INLINE Vec<float, 8> swap_neighbours(Vec<float, 8> a) { return {_mm256_permute_ps(a.r, 0xb1)}; }
FASTNORM_INLINE Vec<double, 4> swap_neighbours(Vec<double, 4> a) { return {_mm256_permute_pd(a.r, 0x5)}; }
FASTNORM_REGISTER_TRANSPOSE_PIECES(8, _mm256)
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int apart, Vec<float, 8>& v) {
    v = {_mm256_insertf128_ps(
        _mm256_castps128_ps256(load_piece(row(first))), load_piece(row(first + apart)), 1
    )};
}
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int apart, Vec<double, 4>& v) {
    Vec<float, 8> pieces;
    load_pieces(row, first, apart, pieces);
    v = {_mm256_castps_pd(pieces.r)};
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int apart, Vec<float, 8> v) {
    store_piece(row(first), _mm256_castps256_ps128(v.r));
    store_piece(row(first + apart), _mm256_extractf128_ps(v.r, 1));
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int apart, Vec<double, 4> v) {
    store_pieces(row, first, apart, Vec<float, 8>{_mm256_castpd_ps(v.r)});
}
FASTNORM_INLINE void store_bits(std::uint32_t* target, Bits<float, 8> bits) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), bits.r);
}
#endif

// float16 by the F16C instructions, bfloat16 by shifting: widened values of 8 elements.
FASTNORM_INLINE __m256 widen_eight(__m128i halves, const float16*) { return _mm256_cvtph_ps(halves); }
FASTNORM_INLINE __m256 widen_eight(__m128i halves, const bfloat16*) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
// Lanes of two halves each, of which the even ones come first.
FASTNORM_INLINE __m256 widen_low_halves(__m256i lanes) {
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1))
    );
}
FASTNORM_INLINE void widen_pairs(
    Vec<float, 8> pairs, Vec<float, 8>& even, Vec<float, 8>& odd, const float16*
) {
    const __m256i bits = _mm256_castps_si256(pairs.r);
    even = {widen_low_halves(_mm256_and_si256(bits, _mm256_set1_epi32(0xffff)))};
    odd = {widen_low_halves(_mm256_srli_epi32(bits, 16))};
}
FASTNORM_INLINE __m128i narrow_eight(__m256 values, const float16*) {
    return _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FASTNORM_INLINE __m128i narrow_eight(__m256 values, const bfloat16*) {
    const __m256i bits = _mm256_castps_si256(values);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

template <>
struct Memory<Vec<float, 8>> {
    using V = Vec<float, 8>;
    static FASTNORM_INLINE V broadcast(float value) { return {_mm256_set1_ps(value)}; }
    static FASTNORM_INLINE Bits<float, 8> broadcast_bits(std::int64_t value) {
        return {_mm256_set1_epi32(int(value))};
    }
    static FASTNORM_INLINE V load(const float* source) { return {_mm256_loadu_ps(source)}; }
    static FASTNORM_INLINE void store(float* target, V v) { _mm256_storeu_ps(target, v.r); }
    static FASTNORM_INLINE void stream(float* target, V v) { _mm256_stream_ps(target, v.r); }
    template <class S>
    static FASTNORM_INLINE V load(const S* source) {
        return {widen_eight(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)), source)};
    }
    template <class S>
    static FASTNORM_INLINE void store(S* target, V v) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target), narrow_eight(v.r, target));
    }
    template <class S>
    static FASTNORM_INLINE void stream(S* target, V v) {
        store(target, v);
    }
    static FASTNORM_INLINE __m256i first_lanes(int count) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static FASTNORM_INLINE V load_partial(const float* source, int count, float fill) {
        const __m256i mask = first_lanes(count);
        return {_mm256_blendv_ps(
            _mm256_set1_ps(fill), _mm256_maskload_ps(source, mask), _mm256_castsi256_ps(mask)
        )};
    }
    static FASTNORM_INLINE void store_partial(float* target, V v, int count) {
        _mm256_maskstore_ps(target, first_lanes(count), v.r);
    }
    template <class S>
    static FASTNORM_OUTLINE V load_partial(const S* source, int count, float fill) {
        float lanes[8] = {fill, fill, fill, fill, fill, fill, fill, fill};
        for (int i = 0; i < count; ++i) lanes[i] = widen(source[i]);
        return load(static_cast<const float*>(lanes));
    }
    template <class S>
    static FASTNORM_OUTLINE void store_partial(S* target, V v, int count) {
        S lanes[8];
        store(static_cast<S*>(lanes), v);
        for (int i = 0; i < count; ++i) target[i] = lanes[i];
    }
};

template <>
struct Memory<Vec<double, 4>> {
    using V = Vec<double, 4>;
    static FASTNORM_INLINE V broadcast(double value) { return {_mm256_set1_pd(value)}; }
    static FASTNORM_INLINE Bits<double, 4> broadcast_bits(std::int64_t value) {
        return {_mm256_set1_epi64x(value)};
    }
    static FASTNORM_INLINE V load(const double* source) { return {_mm256_loadu_pd(source)}; }
    static FASTNORM_INLINE void store(double* target, V v) { _mm256_storeu_pd(target, v.r); }
    static FASTNORM_INLINE void stream(double* target, V v) { _mm256_stream_pd(target, v.r); }
    static FASTNORM_INLINE __m256i first_lanes(int count) {
        return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    }
    static FASTNORM_INLINE V load_partial(const double* source, int count, double fill) {
        const __m256i mask = first_lanes(count);
        return {_mm256_blendv_pd(
            _mm256_set1_pd(fill), _mm256_maskload_pd(source, mask), _mm256_castsi256_pd(mask)
        )};
    }
    static FASTNORM_INLINE void store_partial(double* target, V v, int count) {
        _mm256_maskstore_pd(target, first_lanes(count), v.r);
    }
};

FASTNORM_TARGET_END
