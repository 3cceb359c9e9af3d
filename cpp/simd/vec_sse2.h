// 128-bit x86 registers (SSE2): those of baseline, and the narrow steps of a reduction on the wider ones.
#pragma once

#include "simd/halves.h"

#include <emmintrin.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#ifndef FASTNORM_REGISTER_BYTES
#define FASTNORM_REGISTER_BYTES 16
#endif

FASTNORM_TARGET_BEGIN

#if defined(__FMA__)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif

template <>
struct Vec<float, 4> {
    __m128 r;
};
template <>
struct Mask<float, 4> {
    __m128 r;
};
template <>
struct Bits<float, 4> {
    __m128i r;
};
template <>
struct Vec<double, 2> {
    __m128d r;
};
template <>
struct Mask<double, 2> {
    __m128d r;
};
template <>
struct Bits<double, 2> {
    __m128i r;
};
// Half a register, only ever loaded, stored and converted.
template <>
struct Vec<float, 2> {
    __m128 r;
};

// One register type's arithmetic. p: intrinsic prefix, s: suffix.
#define FASTNORM_REGISTER_ARITHMETIC(T, N, p, s)                                                      \
    FASTNORM_INLINE Vec<T, N> operator+(Vec<T, N> a, Vec<T, N> b) { return {p##_add_##s(a.r, b.r)}; } \
    FASTNORM_INLINE Vec<T, N> operator-(Vec<T, N> a, Vec<T, N> b) { return {p##_sub_##s(a.r, b.r)}; } \
    FASTNORM_INLINE Vec<T, N> operator*(Vec<T, N> a, Vec<T, N> b) { return {p##_mul_##s(a.r, b.r)}; } \
    FASTNORM_INLINE Vec<T, N> operator/(Vec<T, N> a, Vec<T, N> b) { return {p##_div_##s(a.r, b.r)}; } \
    FASTNORM_INLINE Vec<T, N> min(Vec<T, N> a, Vec<T, N> b) { return {p##_min_##s(a.r, b.r)}; }       \
    FASTNORM_INLINE Vec<T, N> max(Vec<T, N> a, Vec<T, N> b) { return {p##_max_##s(a.r, b.r)}; }       \
    FASTNORM_INLINE Vec<T, N> sqrt(Vec<T, N> a) { return {p##_sqrt_##s(a.r)}; }

#define FASTNORM_REGISTER_FMA(T, N, p, s)                                               \
    FASTNORM_INLINE Vec<T, N> mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) {          \
        return {p##_fmadd_##s(a.r, b.r, c.r)};                                          \
    }                                                                                   \
    FASTNORM_INLINE Vec<T, N> negative_mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) { \
        return {p##_fnmadd_##s(a.r, b.r, c.r)};                                         \
    }                                                                                   \
    FASTNORM_INLINE Vec<T, N> mul_sub(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) {          \
        return {p##_fmsub_##s(a.r, b.r, c.r)};                                          \
    }

// Sign handling and selection by bitwise operations, as registers without mask registers have them.
#define FASTNORM_REGISTER_BITWISE(T, N, p, s, si)                                                          \
    FASTNORM_INLINE Vec<T, N> operator-(Vec<T, N> a) { return {p##_xor_##s(a.r, p##_set1_##s(T(-0.0)))}; } \
    FASTNORM_INLINE Vec<T, N> abs(Vec<T, N> a) { return {p##_andnot_##s(p##_set1_##s(T(-0.0)), a.r)}; }    \
    FASTNORM_INLINE Vec<T, N> copy_sign(Vec<T, N> magnitude, Vec<T, N> sign) {                             \
        const auto bit = p##_set1_##s(T(-0.0));                                                            \
        return {p##_or_##s(p##_andnot_##s(bit, magnitude.r), p##_and_##s(bit, sign.r))};                   \
    }                                                                                                      \
    FASTNORM_INLINE Mask<T, N> operator&(Mask<T, N> a, Mask<T, N> b) { return {p##_and_##s(a.r, b.r)}; }   \
    FASTNORM_INLINE Mask<T, N> operator|(Mask<T, N> a, Mask<T, N> b) { return {p##_or_##s(a.r, b.r)}; }    \
    FASTNORM_INLINE Mask<T, N> operator!(Mask<T, N> a) {                                                   \
        return {p##_xor_##s(a.r, p##_cast##si##_##s(p##_set1_epi32(-1)))};                                 \
    }                                                                                                      \
    FASTNORM_INLINE bool any(Mask<T, N> a) { return p##_movemask_##s(a.r) != 0; }                          \
    FASTNORM_INLINE Bits<T, N> as_bits(Vec<T, N> a) { return {p##_cast##s##_##si(a.r)}; }                  \
    FASTNORM_INLINE Vec<T, N> from_bits(Bits<T, N> a) { return {p##_cast##si##_##s(a.r)}; }                \
    FASTNORM_INLINE Bits<T, N> operator&(Bits<T, N> a, Bits<T, N> b) { return {p##_and_##si(a.r, b.r)}; }  \
    FASTNORM_INLINE Bits<T, N> operator|(Bits<T, N> a, Bits<T, N> b) { return {p##_or_##si(a.r, b.r)}; }   \
    FASTNORM_INLINE Bits<T, N> operator^(Bits<T, N> a, Bits<T, N> b) { return {p##_xor_##si(a.r, b.r)}; }

#define FASTNORM_REGISTER_INTEGERS(T, N, p, e)                                                            \
    FASTNORM_INLINE Bits<T, N> operator+(Bits<T, N> a, Bits<T, N> b) { return {p##_add_##e(a.r, b.r)}; }  \
    FASTNORM_INLINE Bits<T, N> operator-(Bits<T, N> a, Bits<T, N> b) { return {p##_sub_##e(a.r, b.r)}; }  \
    FASTNORM_INLINE Bits<T, N> operator<<(Bits<T, N> a, int count) { return {p##_slli_##e(a.r, count)}; } \
    FASTNORM_INLINE Bits<T, N> operator>>(Bits<T, N> a, int count) { return {p##_srli_##e(a.r, count)}; }

FASTNORM_REGISTER_ARITHMETIC(float, 4, _mm, ps)
FASTNORM_REGISTER_ARITHMETIC(double, 2, _mm, pd)
FASTNORM_REGISTER_BITWISE(float, 4, _mm, ps, si128)
FASTNORM_REGISTER_BITWISE(double, 2, _mm, pd, si128)
FASTNORM_REGISTER_INTEGERS(float, 4, _mm, epi32)
FASTNORM_REGISTER_INTEGERS(double, 2, _mm, epi64)
FASTNORM_INLINE Bits<double, 2> multiply_words(Bits<double, 2> a, Bits<double, 2> b) {
    return {_mm_mul_epu32(a.r, b.r)};
}

#if defined(__FMA__)
FASTNORM_REGISTER_FMA(float, 4, _mm, ps)
FASTNORM_REGISTER_FMA(double, 2, _mm, pd)
#else
#define FASTNORM_REGISTER_UNFUSED(T, N)                                                                     \
    FASTNORM_INLINE Vec<T, N> mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) { return a * b + c; }          \
    FASTNORM_INLINE Vec<T, N> negative_mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) { return c - a * b; } \
    FASTNORM_INLINE Vec<T, N> mul_sub(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) { return a * b - c; }
FASTNORM_REGISTER_UNFUSED(float, 4)
FASTNORM_REGISTER_UNFUSED(double, 2)
#endif

#define FASTNORM_REGISTER_COMPARE(T, N, s)                                                                 \
    FASTNORM_INLINE Mask<T, N> operator<(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmplt_##s(a.r, b.r)}; }   \
    FASTNORM_INLINE Mask<T, N> operator<=(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmple_##s(a.r, b.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator>(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmplt_##s(b.r, a.r)}; }   \
    FASTNORM_INLINE Mask<T, N> operator>=(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmple_##s(b.r, a.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator==(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmpeq_##s(a.r, b.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator!=(Vec<T, N> a, Vec<T, N> b) { return {_mm_cmpneq_##s(a.r, b.r)}; } \
    FASTNORM_INLINE Vec<T, N> select(Mask<T, N> mask, Vec<T, N> a, Vec<T, N> b) {                          \
        return {_mm_or_##s(_mm_and_##s(mask.r, a.r), _mm_andnot_##s(mask.r, b.r))};                        \
    }
FASTNORM_REGISTER_COMPARE(float, 4, ps)
FASTNORM_REGISTER_COMPARE(double, 2, pd)

// Within each sixteen bytes of four (two) registers: element j of register i goes to place i of register j.
#define FASTNORM_REGISTER_TRANSPOSE_PIECES(N, p)                                         \
    FASTNORM_INLINE Vec<float, N> pair_low(Vec<float, N> a, Vec<float, N> b) {           \
        return {p##_castpd_ps(p##_unpacklo_pd(p##_castps_pd(a.r), p##_castps_pd(b.r)))}; \
    }                                                                                    \
    FASTNORM_INLINE Vec<float, N> pair_high(Vec<float, N> a, Vec<float, N> b) {          \
        return {p##_castpd_ps(p##_unpackhi_pd(p##_castps_pd(a.r), p##_castps_pd(b.r)))}; \
    }                                                                                    \
    FASTNORM_INLINE void transpose_pieces(Vec<float, N>(&v)[4]) {                        \
        const Vec<float, N> low = {p##_unpacklo_ps(v[0].r, v[1].r)},                     \
                            next = {p##_unpacklo_ps(v[2].r, v[3].r)};                    \
        const Vec<float, N> high = {p##_unpackhi_ps(v[0].r, v[1].r)},                    \
                            last = {p##_unpackhi_ps(v[2].r, v[3].r)};                    \
        v[0] = pair_low(low, next);                                                      \
        v[1] = pair_high(low, next);                                                     \
        v[2] = pair_low(high, last);                                                     \
        v[3] = pair_high(high, last);                                                    \
    }                                                                                    \
    FASTNORM_INLINE void transpose_pieces(Vec<double, N / 2>(&v)[2]) {                   \
        const Vec<double, N / 2> low = {p##_unpacklo_pd(v[0].r, v[1].r)};                \
        v[1] = {p##_unpackhi_pd(v[0].r, v[1].r)};                                        \
        v[0] = low;                                                                      \
    }

// Sixteen bytes wherever they lie.
FASTNORM_INLINE __m128 load_piece(const void* address) {
    return _mm_loadu_ps(static_cast<const float*>(address));
}
FASTNORM_INLINE void store_piece(void* address, __m128 piece) {
    _mm_storeu_ps(static_cast<float*>(address), piece);
}

// Eight rows of eight elements of two bytes, transposed: element j of row i, at source[i] + from, goes to
// place i of column j, target[j] + to.
FASTNORM_INLINE void transpose_halves(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    __m128i a[8], b[8];
    FASTNORM_UNROLL
    for (int i = 0; i < 8; ++i) a[i] = _mm_castps_si128(load_piece(source[i] + from));
    // A round interleaves rows i and i + 4; three of them exchange the bits of the row's number and the
    // column's.
    FASTNORM_UNROLL
    for (int round = 0; round < 3; ++round) {
        FASTNORM_UNROLL
        for (int i = 0; i < 4; ++i) {
            b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
            b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
        }
        FASTNORM_UNROLL
        for (int i = 0; i < 8; ++i) a[i] = b[i];
    }
    FASTNORM_UNROLL
    for (int j = 0; j < 8; ++j) _mm_storeu_si128(reinterpret_cast<__m128i*>(target[j] + to), a[j]);
}

FASTNORM_INLINE Vec<float, 2> lower(Vec<float, 4> a) { return {a.r}; }
FASTNORM_INLINE Vec<float, 2> upper(Vec<float, 4> a) { return {_mm_movehl_ps(a.r, a.r)}; }
FASTNORM_INLINE Vec<float, 4> join(Vec<float, 2> lo, Vec<float, 2> hi) { return {_mm_movelh_ps(lo.r, hi.r)}; }
FASTNORM_INLINE Vec<float, 2> operator+(Vec<float, 2> a, Vec<float, 2> b) { return {_mm_add_ps(a.r, b.r)}; }
FASTNORM_INLINE Vec<float, 2> max(Vec<float, 2> a, Vec<float, 2> b) { return {_mm_max_ps(a.r, b.r)}; }
FASTNORM_INLINE float first(Vec<float, 2> a) { return _mm_cvtss_f32(a.r); }
FASTNORM_INLINE float second(Vec<float, 2> a) { return _mm_cvtss_f32(_mm_shuffle_ps(a.r, a.r, 1)); }
FASTNORM_INLINE double first(Vec<double, 2> a) { return _mm_cvtsd_f64(a.r); }
FASTNORM_INLINE double second(Vec<double, 2> a) { return _mm_cvtsd_f64(_mm_unpackhi_pd(a.r, a.r)); }
FASTNORM_INLINE Vec<double, 2> to_double(Vec<float, 2> a) { return {_mm_cvtps_pd(a.r)}; }
FASTNORM_INLINE Vec<float, 2> to_float(Vec<double, 2> a) { return {_mm_cvtpd_ps(a.r)}; }

#if FASTNORM_REGISTER_BYTES == 16
constexpr std::size_t stream_alignment = 16;
constexpr bool has_scale = false;
constexpr int register_count = 16, most_looked_up = 32;
template <class T>
constexpr int native = 16 / int(sizeof(T));

FASTNORM_INLINE Vec<float, 4> lookup8(const float* table, Bits<float, 4> index) {
    alignas(16) std::uint32_t i[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(i), index.r);
    return {_mm_setr_ps(table[i[0] & 7], table[i[1] & 7], table[i[2] & 7], table[i[3] & 7])};
}
FASTNORM_INLINE Vec<float, 4> lookup16(const float* table, Bits<float, 4> index) {
    alignas(16) std::uint32_t i[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(i), index.r);
    return {_mm_setr_ps(table[i[0] & 15], table[i[1] & 15], table[i[2] & 15], table[i[3] & 15])};
}
FASTNORM_INLINE Vec<double, 2> lookup8(const double* table, Bits<double, 2> index) {
    alignas(16) std::uint64_t i[2];
    _mm_store_si128(reinterpret_cast<__m128i*>(i), index.r);
    return {_mm_setr_pd(table[i[0] & 7], table[i[1] & 7])};
}
FASTNORM_INLINE Vec<double, 2> lookup16(const double* table, Bits<double, 2> index) {
    alignas(16) std::uint64_t i[2];
    _mm_store_si128(reinterpret_cast<__m128i*>(i), index.r);
    return {_mm_setr_pd(table[i[0] & 15], table[i[1] & 15])};
}

FASTNORM_INLINE void interleave(Vec<float, 4> a, Vec<float, 4> b, Vec<float, 4>& lo, Vec<float, 4>& hi) {
    lo = {_mm_unpacklo_ps(a.r, b.r)};
    hi = {_mm_unpackhi_ps(a.r, b.r)};
}
FASTNORM_INLINE void interleave(Vec<double, 2> a, Vec<double, 2> b, Vec<double, 2>& lo, Vec<double, 2>& hi) {
    lo = {_mm_unpacklo_pd(a.r, b.r)};
    hi = {_mm_unpackhi_pd(a.r, b.r)};
}
FASTNORM_INLINE Vec<float, 4> swap_neighbours(Vec<float, 4> a) { return {_mm_shuffle_ps(a.r, a.r, 0xb1)}; }
FASTNORM_INLINE Vec<double, 2> swap_neighbours(Vec<double, 2> a) { return {_mm_shuffle_pd(a.r, a.r, 1)}; }
FASTNORM_REGISTER_TRANSPOSE_PIECES(4, _mm)
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int, Vec<float, 4>& v) {
    v = {load_piece(row(first))};
}
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int, Vec<double, 2>& v) {
    v = {_mm_castps_pd(load_piece(row(first)))};
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int, Vec<float, 4> v) {
    store_piece(row(first), v.r);
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int, Vec<double, 2> v) {
    store_piece(row(first), _mm_castpd_ps(v.r));
}
#endif

// Elements of half types one by one: calls, so that kernels without instructions for them stay small.
template <class S>
FASTNORM_OUTLINE __m128 widen_each(const S* source, int count, float fill) {
    float lanes[4] = {fill, fill, fill, fill};
    for (int i = 0; i < count; ++i) lanes[i] = widen(source[i]);
    return _mm_loadu_ps(lanes);
}
template <class S>
FASTNORM_OUTLINE void narrow_each(S* target, __m128 values, int count) {
    float lanes[4];
    _mm_storeu_ps(lanes, values);
    for (int i = 0; i < count; ++i) narrow(lanes[i], target[i]);
}
FASTNORM_INLINE __m128 widen_four(const bfloat16* source) {
    const __m128i halves = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(source));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), halves));
}
FASTNORM_INLINE __m128 widen_four(const float16* source) {
#if defined(__F16C__)
    return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source)));
#else
    return widen_each(source, 4, 0);
#endif
}

template <>
struct Memory<Vec<float, 4>> {
    using V = Vec<float, 4>;
    static FASTNORM_INLINE V broadcast(float value) { return {_mm_set1_ps(value)}; }
    static FASTNORM_INLINE Bits<float, 4> broadcast_bits(std::int64_t value) {
        return {_mm_set1_epi32(int(value))};
    }
    static FASTNORM_INLINE V load(const float* source) { return {_mm_loadu_ps(source)}; }
    static FASTNORM_INLINE void store(float* target, V v) { _mm_storeu_ps(target, v.r); }
    static FASTNORM_INLINE void stream(float* target, V v) { _mm_stream_ps(target, v.r); }
    template <class S>
    static FASTNORM_INLINE V load(const S* source) {
        return {widen_four(source)};
    }
    template <class S>
    static FASTNORM_INLINE void store(S* target, V v) {
        narrow_each(target, v.r, 4);
    }
    template <class S>
    static FASTNORM_INLINE void stream(S* target, V v) {
        store(target, v);
    }
    template <class S>
    static FASTNORM_INLINE V load_partial(const S* source, int count, float fill) {
        return {widen_each(source, count, fill)};
    }
    template <class S>
    static FASTNORM_INLINE void store_partial(S* target, V v, int count) {
        narrow_each(target, v.r, count);
    }
};

template <>
struct Memory<Vec<float, 2>> {
    template <class S>
    static FASTNORM_INLINE Vec<float, 2> load(const S* source) {
        if constexpr (sizeof(S) == 2) {
            return {widen_each(source, 2, 0)};
        } else {
            return {_mm_setr_ps(source[0], source[1], 0, 0)};
        }
    }
};

template <>
struct Memory<Vec<double, 2>> {
    using V = Vec<double, 2>;
    static FASTNORM_INLINE V broadcast(double value) { return {_mm_set1_pd(value)}; }
    static FASTNORM_INLINE Bits<double, 2> broadcast_bits(std::int64_t value) {
        return {_mm_set1_epi64x(value)};
    }
    static FASTNORM_INLINE V load(const double* source) { return {_mm_loadu_pd(source)}; }
    static FASTNORM_INLINE void store(double* target, V v) { _mm_storeu_pd(target, v.r); }
    static FASTNORM_INLINE void stream(double* target, V v) { _mm_stream_pd(target, v.r); }
    static FASTNORM_OUTLINE V load_partial(const double* source, int count, double fill) {
        return {_mm_setr_pd(count > 0 ? source[0] : fill, count > 1 ? source[1] : fill)};
    }
    static FASTNORM_OUTLINE void store_partial(double* target, V v, int count) {
        if (count > 0) target[0] = first(v);
        if (count > 1) target[1] = second(v);
    }
};

FASTNORM_TARGET_END
