// 512-bit x86 registers: AVX-512 F, BW, DQ and VL.
#pragma once

#ifndef FASTNORM_REGISTER_BYTES
#define FASTNORM_REGISTER_BYTES 64
#endif

#include "simd/vec_avx2.h"

FASTNORM_TARGET_BEGIN

template <>
struct Vec<float, 16> {
    __m512 r;
};
template <>
struct Mask<float, 16> {
    __mmask16 r;
};
template <>
struct Bits<float, 16> {
    __m512i r;
};
template <>
struct Vec<double, 8> {
    __m512d r;
};
template <>
struct Mask<double, 8> {
    __mmask8 r;
};
template <>
struct Bits<double, 8> {
    __m512i r;
};

constexpr std::size_t stream_alignment = 64;
constexpr bool has_scale = true;
constexpr int register_count = 32, most_looked_up = 32;
template <class T>
constexpr int native = 64 / int(sizeof(T));

FASTNORM_REGISTER_ARITHMETIC(float, 16, _mm512, ps)
FASTNORM_REGISTER_ARITHMETIC(double, 8, _mm512, pd)
FASTNORM_REGISTER_FMA(float, 16, _mm512, ps)
FASTNORM_REGISTER_FMA(double, 8, _mm512, pd)
FASTNORM_REGISTER_INTEGERS(float, 16, _mm512, epi32)
FASTNORM_REGISTER_INTEGERS(double, 8, _mm512, epi64)

#define FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, op, s, predicate) \
    FASTNORM_INLINE Mask<T, N> operator op(Vec<T, N> a, Vec<T, N> b) {  \
        return {_mm512_cmp_##s##_mask(a.r, b.r, predicate)};            \
    }
// Ternary logic 0xd8 takes the bits of the second operand where the third (the sign bit) is set, else of the
// first.
#define FASTNORM_REGISTER_512(T, N, s, e, mask_type)                                                         \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, <, s, _CMP_LT_OQ)                                          \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, <=, s, _CMP_LE_OQ)                                         \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, >, s, _CMP_GT_OQ)                                          \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, >=, s, _CMP_GE_OQ)                                         \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, ==, s, _CMP_EQ_OQ)                                         \
    FASTNORM_REGISTER_COMPARE_IMMEDIATE_512(T, N, !=, s, _CMP_NEQ_UQ)                                        \
    FASTNORM_INLINE Vec<T, N> select(Mask<T, N> mask, Vec<T, N> a, Vec<T, N> b) {                            \
        return {_mm512_mask_blend_##s(mask.r, b.r, a.r)};                                                    \
    }                                                                                                        \
    FASTNORM_INLINE Vec<T, N> one_minus_where(Mask<T, N> mask, Vec<T, N> a) {                                \
        return {_mm512_mask_sub_##s(a.r, mask.r, _mm512_set1_##s(T(1)), a.r)};                               \
    }                                                                                                        \
    FASTNORM_INLINE Mask<T, N> operator&(Mask<T, N> a, Mask<T, N> b) { return {mask_type(a.r & b.r)}; }      \
    FASTNORM_INLINE Mask<T, N> operator|(Mask<T, N> a, Mask<T, N> b) { return {mask_type(a.r | b.r)}; }      \
    FASTNORM_INLINE Mask<T, N> operator!(Mask<T, N> a) { return {mask_type(~a.r)}; }                         \
    FASTNORM_INLINE bool any(Mask<T, N> a) { return a.r != 0; }                                              \
    FASTNORM_INLINE Vec<T, N> operator-(Vec<T, N> a) {                                                       \
        return {_mm512_xor_##s(a.r, _mm512_set1_##s(T(-0.0)))};                                              \
    }                                                                                                        \
    FASTNORM_INLINE Vec<T, N> abs(Vec<T, N> a) {                                                             \
        return {_mm512_andnot_##s(_mm512_set1_##s(T(-0.0)), a.r)};                                           \
    }                                                                                                        \
    FASTNORM_INLINE Bits<T, N> as_bits(Vec<T, N> a) { return {_mm512_cast##s##_si512(a.r)}; }                \
    FASTNORM_INLINE Vec<T, N> from_bits(Bits<T, N> a) { return {_mm512_castsi512_##s(a.r)}; }                \
    FASTNORM_INLINE Vec<T, N> copy_sign(Vec<T, N> magnitude, Vec<T, N> sign) {                               \
        const __m512i bit = _mm512_cast##s##_si512(_mm512_set1_##s(T(-0.0)));                                \
        return {                                                                                             \
            _mm512_castsi512_##s(_mm512_ternarylogic_##e(as_bits(magnitude).r, as_bits(sign).r, bit, 0xd8))  \
        };                                                                                                   \
    }                                                                                                        \
    FASTNORM_INLINE Bits<T, N> operator&(Bits<T, N> a, Bits<T, N> b) {                                       \
        return {_mm512_and_si512(a.r, b.r)};                                                                 \
    }                                                                                                        \
    FASTNORM_INLINE Bits<T, N> operator|(Bits<T, N> a, Bits<T, N> b) { return {_mm512_or_si512(a.r, b.r)}; } \
    FASTNORM_INLINE Bits<T, N> operator^(Bits<T, N> a, Bits<T, N> b) {                                       \
        return {_mm512_xor_si512(a.r, b.r)};                                                                 \
    }                                                                                                        \
    FASTNORM_INLINE Vec<T, N> scale(Vec<T, N> v, Vec<T, N> n) { return {_mm512_scalef_##s(v.r, n.r)}; }      \
    FASTNORM_INLINE Vec<T, N> scale_or_zero(Mask<T, N> vanishes, Vec<T, N> v, Vec<T, N> n) {                 \
        return {_mm512_maskz_scalef_##s(mask_type(~vanishes.r), v.r, n.r)};                                  \
    }
FASTNORM_REGISTER_512(float, 16, ps, epi32, __mmask16)
FASTNORM_REGISTER_512(double, 8, pd, epi64, __mmask8)
FASTNORM_INLINE Bits<double, 8> multiply_words(Bits<double, 8> a, Bits<double, 8> b) {
    return {_mm512_mul_epu32(a.r, b.r)};
}

FASTNORM_INLINE Vec<float, 8> lower(Vec<float, 16> a) { return {_mm512_castps512_ps256(a.r)}; }
FASTNORM_INLINE Vec<float, 8> upper(Vec<float, 16> a) { return {_mm512_extractf32x8_ps(a.r, 1)}; }
FASTNORM_INLINE Vec<float, 16> join(Vec<float, 8> lo, Vec<float, 8> hi) {
    return {_mm512_insertf32x8(_mm512_castps256_ps512(lo.r), hi.r, 1)};
}
FASTNORM_INLINE Vec<double, 4> lower(Vec<double, 8> a) { return {_mm512_castpd512_pd256(a.r)}; }
FASTNORM_INLINE Vec<double, 4> upper(Vec<double, 8> a) { return {_mm512_extractf64x4_pd(a.r, 1)}; }
FASTNORM_INLINE Vec<double, 8> to_double(Vec<float, 8> a) { return {_mm512_cvtps_pd(a.r)}; }
FASTNORM_INLINE Vec<float, 8> to_float(Vec<double, 8> a) { return {_mm512_cvtpd_ps(a.r)}; }

FASTNORM_INLINE Vec<float, 16> lookup8(const float* table, Bits<float, 16> index) {
    return {_mm512_permutexvar_ps(
        _mm512_and_si512(index.r, _mm512_set1_epi32(7)), _mm512_castps256_ps512(_mm256_loadu_ps(table))
    )};
}
FASTNORM_INLINE Vec<float, 16> lookup16(const float* table, Bits<float, 16> index) {
    return {_mm512_permutexvar_ps(index.r, _mm512_loadu_ps(table))};
}
FASTNORM_INLINE Vec<double, 8> lookup8(const double* table, Bits<double, 8> index) {
    return {_mm512_permutexvar_pd(index.r, _mm512_loadu_pd(table))};
}
FASTNORM_INLINE Vec<double, 8> lookup16(const double* table, Bits<double, 8> index) {
    return {_mm512_permutex2var_pd(_mm512_loadu_pd(table), index.r, _mm512_loadu_pd(table + 8))};
}

FASTNORM_INLINE Vec<float, 16> lookup32(const float* table, Bits<float, 16> index) {
    return {_mm512_permutex2var_ps(_mm512_load_ps(table), index.r, _mm512_load_ps(table + 16))};
}

FASTNORM_INLINE void interleave(Vec<float, 16> a, Vec<float, 16> b, Vec<float, 16>& lo, Vec<float, 16>& hi) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    lo = {_mm512_permutex2var_ps(a.r, first, b.r)};
    hi = {_mm512_permutex2var_ps(a.r, _mm512_add_epi32(first, _mm512_set1_epi32(8)), b.r)};
}
FASTNORM_INLINE void interleave(Vec<double, 8> a, Vec<double, 8> b, Vec<double, 8>& lo, Vec<double, 8>& hi) {
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    lo = {_mm512_permutex2var_pd(a.r, first, b.r)};
    hi = {_mm512_permutex2var_pd(a.r, _mm512_add_epi64(first, _mm512_set1_epi64(4)), b.r)};
}
FASTNORM_INLINE Vec<float, 16> swap_neighbours(Vec<float, 16> a) { return {_mm512_permute_ps(a.r, 0xb1)}; }
FASTNORM_INLINE Vec<double, 8> swap_neighbours(Vec<double, 8> a) { return {_mm512_permute_pd(a.r, 0x55)}; }
FASTNORM_REGISTER_TRANSPOSE_PIECES(16, _mm512)
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int apart, Vec<float, 16>& v) {
    const __m256 lo = _mm256_insertf128_ps(
        _mm256_castps128_ps256(load_piece(row(first))), load_piece(row(first + apart)), 1
    );
    const __m256 hi = _mm256_insertf128_ps(
        _mm256_castps128_ps256(load_piece(row(first + 2 * apart))), load_piece(row(first + 3 * apart)), 1
    );
    v = {_mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1)};
}
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int apart, Vec<double, 8>& v) {
    Vec<float, 16> pieces;
    load_pieces(row, first, apart, pieces);
    v = {_mm512_castps_pd(pieces.r)};
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int apart, Vec<float, 16> v) {
    store_piece(row(first), _mm512_castps512_ps128(v.r));
    store_piece(row(first + apart), _mm512_extractf32x4_ps(v.r, 1));
    store_piece(row(first + 2 * apart), _mm512_extractf32x4_ps(v.r, 2));
    store_piece(row(first + 3 * apart), _mm512_extractf32x4_ps(v.r, 3));
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int apart, Vec<double, 8> v) {
    store_pieces(row, first, apart, Vec<float, 16>{_mm512_castpd_ps(v.r)});
}

FASTNORM_INLINE __m512 widen_sixteen(__m256i halves, const float16*) { return _mm512_cvtph_ps(halves); }
FASTNORM_INLINE __m512 widen_sixteen(__m256i halves, const bfloat16*) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
FASTNORM_INLINE __m256i narrow_sixteen(__m512 values, const float16*) {
    return _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FASTNORM_INLINE __m256i narrow_sixteen(__m512 values, const bfloat16*) {
    const __m512i bits = _mm512_castps_si512(values);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16));
}

// Lanes of two halves each, of which the even ones come first.
FASTNORM_INLINE void widen_pairs(
    Vec<float, 16> pairs, Vec<float, 16>& even, Vec<float, 16>& odd, const float16*
) {
    const __m512i bits = _mm512_castps_si512(pairs.r);
    even = {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits))};
    odd = {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)))};
}

template <>
struct Memory<Vec<float, 16>> {
    using V = Vec<float, 16>;
    static FASTNORM_INLINE V broadcast(float value) { return {_mm512_set1_ps(value)}; }
    static FASTNORM_INLINE Bits<float, 16> broadcast_bits(std::int64_t value) {
        return {_mm512_set1_epi32(int(value))};
    }
    static FASTNORM_INLINE V load(const float* source) { return {_mm512_loadu_ps(source)}; }
    static FASTNORM_INLINE void store(float* target, V v) { _mm512_storeu_ps(target, v.r); }
    static FASTNORM_INLINE void stream(float* target, V v) { _mm512_stream_ps(target, v.r); }
    template <class S>
    static FASTNORM_INLINE V load(const S* source) {
        return {widen_sixteen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)), source)};
    }
    template <class S>
    static FASTNORM_INLINE void store(S* target, V v) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), narrow_sixteen(v.r, target));
    }
    template <class S>
    static FASTNORM_INLINE void stream(S* target, V v) {
        store(target, v);
    }
    static FASTNORM_INLINE __mmask16 first_lanes(int count) {
        return __mmask16(_bzhi_u32(0xffffu, unsigned(count)));
    }
    static FASTNORM_INLINE V load_partial(const float* source, int count, float fill) {
        return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(count), source)};
    }
    static FASTNORM_INLINE void store_partial(float* target, V v, int count) {
        _mm512_mask_storeu_ps(target, first_lanes(count), v.r);
    }
    template <class S>
    static FASTNORM_INLINE V load_partial(const S* source, int count, float fill) {
        const __mmask16 mask = first_lanes(count);
        const __m512 values = widen_sixteen(_mm256_maskz_loadu_epi16(mask, source), source);
        return {_mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), values)};
    }
    template <class S>
    static FASTNORM_INLINE void store_partial(S* target, V v, int count) {
        _mm256_mask_storeu_epi16(target, first_lanes(count), narrow_sixteen(v.r, target));
    }
};

template <>
struct Memory<Vec<double, 8>> {
    using V = Vec<double, 8>;
    static FASTNORM_INLINE V broadcast(double value) { return {_mm512_set1_pd(value)}; }
    static FASTNORM_INLINE Bits<double, 8> broadcast_bits(std::int64_t value) {
        return {_mm512_set1_epi64(value)};
    }
    static FASTNORM_INLINE V load(const double* source) { return {_mm512_loadu_pd(source)}; }
    static FASTNORM_INLINE void store(double* target, V v) { _mm512_storeu_pd(target, v.r); }
    static FASTNORM_INLINE void stream(double* target, V v) { _mm512_stream_pd(target, v.r); }
    static FASTNORM_INLINE __mmask8 first_lanes(int count) {
        return __mmask8(_bzhi_u32(0xffu, unsigned(count)));
    }
    static FASTNORM_INLINE V load_partial(const double* source, int count, double fill) {
        return {_mm512_mask_loadu_pd(_mm512_set1_pd(fill), first_lanes(count), source)};
    }
    static FASTNORM_INLINE void store_partial(double* target, V v, int count) {
        _mm512_mask_storeu_pd(target, first_lanes(count), v.r);
    }
};

FASTNORM_TARGET_END
