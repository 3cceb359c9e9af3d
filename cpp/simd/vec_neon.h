// 128-bit registers of 64-bit Arm (Advanced SIMD), of which every processor has 32.
#pragma once

#include "simd/halves.h"

#include <arm_neon.h>

FASTNORM_TARGET_BEGIN

constexpr bool has_fma = true, has_scale = false;
constexpr std::size_t stream_alignment = 16;
constexpr int register_count = 32;
// A look-up among 64 bytes takes as long as six instructions that interleave, of which 16 make four lanes of
// eight columns.
constexpr int most_looked_up = 0;
template <class T>
constexpr int native = 16 / int(sizeof(T));

// Half a register, only ever loaded, stored and converted.
template <>
struct Vec<float, 2> {
    float32x2_t r;
};

// One register type. f, u: suffixes of the intrinsics for its numbers and for its bits. The instructions for
// minimum and maximum take the number where the other operand is NaN, or -0 for less than 0: a comparison
// does neither.
#define FASTNORM_NEON_REGISTER(T, N, f, u, Numbers, Integers)                                          \
    template <>                                                                                        \
    struct Vec<T, N> {                                                                                 \
        Numbers r;                                                                                     \
    };                                                                                                 \
    template <>                                                                                        \
    struct Mask<T, N> {                                                                                \
        Integers r;                                                                                    \
    };                                                                                                 \
    template <>                                                                                        \
    struct Bits<T, N> {                                                                                \
        Integers r;                                                                                    \
    };                                                                                                 \
    FASTNORM_INLINE Vec<T, N> operator+(Vec<T, N> a, Vec<T, N> b) { return {vaddq_##f(a.r, b.r)}; }    \
    FASTNORM_INLINE Vec<T, N> operator-(Vec<T, N> a, Vec<T, N> b) { return {vsubq_##f(a.r, b.r)}; }    \
    FASTNORM_INLINE Vec<T, N> operator*(Vec<T, N> a, Vec<T, N> b) { return {vmulq_##f(a.r, b.r)}; }    \
    FASTNORM_INLINE Vec<T, N> operator/(Vec<T, N> a, Vec<T, N> b) { return {vdivq_##f(a.r, b.r)}; }    \
    FASTNORM_INLINE Vec<T, N> sqrt(Vec<T, N> a) { return {vsqrtq_##f(a.r)}; }                          \
    FASTNORM_INLINE Vec<T, N> abs(Vec<T, N> a) { return {vabsq_##f(a.r)}; }                            \
    FASTNORM_INLINE Vec<T, N> operator-(Vec<T, N> a) { return {vnegq_##f(a.r)}; }                      \
    FASTNORM_INLINE Mask<T, N> operator<(Vec<T, N> a, Vec<T, N> b) { return {vcltq_##f(a.r, b.r)}; }   \
    FASTNORM_INLINE Mask<T, N> operator<=(Vec<T, N> a, Vec<T, N> b) { return {vcleq_##f(a.r, b.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator>(Vec<T, N> a, Vec<T, N> b) { return {vcgtq_##f(a.r, b.r)}; }   \
    FASTNORM_INLINE Mask<T, N> operator>=(Vec<T, N> a, Vec<T, N> b) { return {vcgeq_##f(a.r, b.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator==(Vec<T, N> a, Vec<T, N> b) { return {vceqq_##f(a.r, b.r)}; }  \
    FASTNORM_INLINE Mask<T, N> operator!=(Vec<T, N> a, Vec<T, N> b) { return {~vceqq_##f(a.r, b.r)}; } \
    FASTNORM_INLINE Mask<T, N> operator&(Mask<T, N> a, Mask<T, N> b) { return {a.r & b.r}; }           \
    FASTNORM_INLINE Mask<T, N> operator|(Mask<T, N> a, Mask<T, N> b) { return {a.r | b.r}; }           \
    FASTNORM_INLINE Mask<T, N> operator!(Mask<T, N> a) { return {~a.r}; }                              \
    FASTNORM_INLINE Vec<T, N> select(Mask<T, N> mask, Vec<T, N> a, Vec<T, N> b) {                      \
        return {vbslq_##f(mask.r, a.r, b.r)};                                                          \
    }                                                                                                  \
    FASTNORM_INLINE Vec<T, N> min(Vec<T, N> a, Vec<T, N> b) { return select(a < b, a, b); }            \
    FASTNORM_INLINE Vec<T, N> max(Vec<T, N> a, Vec<T, N> b) { return select(a > b, a, b); }            \
    FASTNORM_INLINE Vec<T, N> copy_sign(Vec<T, N> magnitude, Vec<T, N> sign) {                         \
        return {vbslq_##f(vreinterpretq_##u##_##f(vdupq_n_##f(T(-0.0))), sign.r, magnitude.r)};        \
    }                                                                                                  \
    FASTNORM_INLINE Vec<T, N> mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) {                         \
        return {vfmaq_##f(c.r, a.r, b.r)};                                                             \
    }                                                                                                  \
    FASTNORM_INLINE Vec<T, N> negative_mul_add(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) {                \
        return {vfmsq_##f(c.r, a.r, b.r)};                                                             \
    }                                                                                                  \
    FASTNORM_INLINE Vec<T, N> mul_sub(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) {                         \
        return {vfmaq_##f(vnegq_##f(c.r), a.r, b.r)};                                                  \
    }                                                                                                  \
    FASTNORM_INLINE Bits<T, N> as_bits(Vec<T, N> a) { return {vreinterpretq_##u##_##f(a.r)}; }         \
    FASTNORM_INLINE Vec<T, N> from_bits(Bits<T, N> a) { return {vreinterpretq_##f##_##u(a.r)}; }       \
    FASTNORM_INLINE Bits<T, N> operator&(Bits<T, N> a, Bits<T, N> b) { return {a.r & b.r}; }           \
    FASTNORM_INLINE Bits<T, N> operator|(Bits<T, N> a, Bits<T, N> b) { return {a.r | b.r}; }           \
    FASTNORM_INLINE Bits<T, N> operator^(Bits<T, N> a, Bits<T, N> b) { return {a.r ^ b.r}; }           \
    FASTNORM_INLINE Bits<T, N> operator+(Bits<T, N> a, Bits<T, N> b) { return {a.r + b.r}; }           \
    FASTNORM_INLINE Bits<T, N> operator-(Bits<T, N> a, Bits<T, N> b) { return {a.r - b.r}; }           \
    FASTNORM_INLINE Bits<T, N> operator<<(Bits<T, N> a, int count) { return {a.r << count}; }          \
    FASTNORM_INLINE Bits<T, N> operator>>(Bits<T, N> a, int count) { return {a.r >> count}; }          \
    FASTNORM_INLINE void interleave(Vec<T, N> a, Vec<T, N> b, Vec<T, N>& lo, Vec<T, N>& hi) {          \
        lo = {vzip1q_##f(a.r, b.r)};                                                                   \
        hi = {vzip2q_##f(a.r, b.r)};                                                                   \
    }

FASTNORM_NEON_REGISTER(float, 4, f32, u32, float32x4_t, uint32x4_t)
FASTNORM_NEON_REGISTER(double, 2, f64, u64, float64x2_t, uint64x2_t)
FASTNORM_INLINE Bits<double, 2> multiply_words(Bits<double, 2> a, Bits<double, 2> b) {
    return {vmull_u32(vmovn_u64(a.r), vmovn_u64(b.r))};
}

FASTNORM_INLINE Vec<float, 4> swap_neighbours(Vec<float, 4> a) { return {vrev64q_f32(a.r)}; }
FASTNORM_INLINE Vec<double, 2> swap_neighbours(Vec<double, 2> a) { return {vextq_f64(a.r, a.r, 1)}; }

FASTNORM_INLINE bool any(Mask<float, 4> a) { return vmaxvq_u32(a.r) != 0; }
FASTNORM_INLINE bool any(Mask<double, 2> a) { return vmaxvq_u32(vreinterpretq_u32_u64(a.r)) != 0; }

FASTNORM_INLINE Vec<float, 2> lower(Vec<float, 4> a) { return {vget_low_f32(a.r)}; }
FASTNORM_INLINE Vec<float, 2> upper(Vec<float, 4> a) { return {vget_high_f32(a.r)}; }
FASTNORM_INLINE Vec<float, 4> join(Vec<float, 2> lo, Vec<float, 2> hi) { return {vcombine_f32(lo.r, hi.r)}; }
FASTNORM_INLINE Vec<float, 2> operator+(Vec<float, 2> a, Vec<float, 2> b) { return {vadd_f32(a.r, b.r)}; }
FASTNORM_INLINE Vec<float, 2> max(Vec<float, 2> a, Vec<float, 2> b) {
    return {vbsl_f32(vcgt_f32(a.r, b.r), a.r, b.r)};
}
FASTNORM_INLINE float first(Vec<float, 2> a) { return vget_lane_f32(a.r, 0); }
FASTNORM_INLINE float second(Vec<float, 2> a) { return vget_lane_f32(a.r, 1); }
FASTNORM_INLINE double first(Vec<double, 2> a) { return vgetq_lane_f64(a.r, 0); }
FASTNORM_INLINE double second(Vec<double, 2> a) { return vgetq_lane_f64(a.r, 1); }
FASTNORM_INLINE Vec<double, 2> to_double(Vec<float, 2> a) { return {vcvt_f64_f32(a.r)}; }
FASTNORM_INLINE Vec<float, 2> to_float(Vec<double, 2> a) { return {vcvt_f32_f64(a.r)}; }
// The halves of a register without taking it apart.
FASTNORM_INLINE Vec<double, 4> to_double(Vec<float, 4> a) {
    return {{vcvt_f64_f32(vget_low_f32(a.r))}, {vcvt_high_f64_f32(a.r)}};
}
FASTNORM_INLINE Vec<float, 4> to_float(Vec<double, 4> a) {
    return {vcvt_high_f32_f64(vcvt_f32_f64(a.lo.r), a.hi.r)};
}

// ---- look-ups ---------------------------------------------------------------------------------------------

// The places of the bytes of entries among those of a table.
FASTNORM_INLINE uint8x16_t bytes_of(uint32x4_t index) {
    return vreinterpretq_u8_u32(vmlaq_u32(vdupq_n_u32(0x03020100), index, vdupq_n_u32(0x04040404)));
}
FASTNORM_INLINE Vec<float, 4> lookup8(const float* table, Bits<float, 4> index) {
    const uint8x16x2_t bytes = vld1q_u8_x2(reinterpret_cast<const std::uint8_t*>(table));
    return {vreinterpretq_f32_u8(vqtbl2q_u8(bytes, bytes_of(index.r & vdupq_n_u32(7))))};
}
FASTNORM_INLINE Vec<float, 4> lookup16(const float* table, Bits<float, 4> index) {
    const uint8x16x4_t bytes = vld1q_u8_x4(reinterpret_cast<const std::uint8_t*>(table));
    return {vreinterpretq_f32_u8(vqtbl4q_u8(bytes, bytes_of(index.r & vdupq_n_u32(15))))};
}
FASTNORM_INLINE Vec<double, 2> lookup_each(const double* table, uint64x2_t index) {
    return {
        vcombine_f64(vld1_f64(table + vgetq_lane_u64(index, 0)), vld1_f64(table + vgetq_lane_u64(index, 1)))
    };
}
FASTNORM_INLINE Vec<double, 2> lookup8(const double* table, Bits<double, 2> index) {
    return lookup_each(table, index.r & vdupq_n_u64(7));
}
FASTNORM_INLINE Vec<double, 2> lookup16(const double* table, Bits<double, 2> index) {
    return lookup_each(table, index.r & vdupq_n_u64(15));
}
FASTNORM_INLINE void store_bits(std::uint32_t* target, Bits<float, 4> bits) { vst1q_u32(target, bits.r); }

// ---- pieces of rows (transpose.h) -------------------------------------------------------------------------

// Sixteen bytes wherever they lie.
FASTNORM_INLINE uint8x16_t load_piece(const void* address) {
    return vld1q_u8(static_cast<const std::uint8_t*>(address));
}
FASTNORM_INLINE void store_piece(void* address, uint8x16_t piece) {
    vst1q_u8(static_cast<std::uint8_t*>(address), piece);
}
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int, Vec<float, 4>& v) {
    v = {vreinterpretq_f32_u8(load_piece(row(first)))};
}
template <class Row>
FASTNORM_INLINE void load_pieces(Row row, int first, int, Vec<double, 2>& v) {
    v = {vreinterpretq_f64_u8(load_piece(row(first)))};
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int, Vec<float, 4> v) {
    store_piece(row(first), vreinterpretq_u8_f32(v.r));
}
template <class Row>
FASTNORM_INLINE void store_pieces(Row row, int first, int, Vec<double, 2> v) {
    store_piece(row(first), vreinterpretq_u8_f64(v.r));
}
FASTNORM_INLINE void transpose_pieces(Vec<float, 4> (&v)[4]) {
    Vec<float, 4> even_low, even_high, odd_low, odd_high;
    interleave(v[0], v[2], even_low, even_high);
    interleave(v[1], v[3], odd_low, odd_high);
    interleave(even_low, odd_low, v[0], v[1]);
    interleave(even_high, odd_high, v[2], v[3]);
}
FASTNORM_INLINE void transpose_pieces(Vec<double, 2> (&v)[2]) { interleave(v[0], v[1], v[0], v[1]); }

// Eight rows of eight elements of two bytes, transposed: element j of row i, at source[i] + from, goes to
// place i of column j, target[j] + to.
FASTNORM_INLINE void transpose_halves(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    uint16x8_t a[8], b[8];
    FASTNORM_UNROLL
    for (int i = 0; i < 8; ++i) a[i] = vreinterpretq_u16_u8(load_piece(source[i] + from));
    // A round interleaves rows i and i + 4; three of them exchange the bits of the row's number and the
    // column's.
    FASTNORM_UNROLL
    for (int round = 0; round < 3; ++round) {
        FASTNORM_UNROLL
        for (int i = 0; i < 4; ++i) {
            b[2 * i] = vzip1q_u16(a[i], a[i + 4]);
            b[2 * i + 1] = vzip2q_u16(a[i], a[i + 4]);
        }
        FASTNORM_UNROLL
        for (int i = 0; i < 8; ++i) a[i] = b[i];
    }
    FASTNORM_UNROLL
    for (int j = 0; j < 8; ++j) store_piece(target[j] + to, vreinterpretq_u8_u16(a[j]));
}

// ---- half types: float16 by the instructions for it, bfloat16 by shifting ---------------------------------

FASTNORM_INLINE float32x4_t widen_four(uint16x4_t halves, const float16*) {
    return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}
FASTNORM_INLINE float32x4_t widen_four(uint16x4_t halves, const bfloat16*) {
    return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}
FASTNORM_INLINE uint16x4_t narrow_four(float32x4_t values, const float16*) {
    return vreinterpret_u16_f16(vcvt_f16_f32(values));
}
FASTNORM_INLINE uint16x4_t narrow_four(float32x4_t values, const bfloat16*) {
    const uint32x4_t bits = vreinterpretq_u32_f32(values);
    const uint32x4_t rounded = bits + ((bits >> 16 & vdupq_n_u32(1)) + vdupq_n_u32(0x7fff));
    const uint32x4_t quiet = bits | vdupq_n_u32(0x400000);
    return vshrn_n_u32(vbslq_u32(vceqq_f32(values, values), rounded, quiet), 16);
}
// Lanes of two halves each, of which the even ones come first.
FASTNORM_INLINE void widen_pairs(
    Vec<float, 4> pairs, Vec<float, 4>& even, Vec<float, 4>& odd, const float16* type
) {
    const uint32x4_t bits = vreinterpretq_u32_f32(pairs.r);
    even = {widen_four(vmovn_u32(bits), type)};
    odd = {widen_four(vshrn_n_u32(bits, 16), type)};
}

// ---- memory -----------------------------------------------------------------------------------------------

// Stores past the caches are plain ones: processors see for themselves that lines are written whole.
template <>
struct Memory<Vec<float, 4>> {
    using V = Vec<float, 4>;
    static FASTNORM_INLINE V broadcast(float value) { return {vdupq_n_f32(value)}; }
    static FASTNORM_INLINE Bits<float, 4> broadcast_bits(std::int64_t value) {
        return {vdupq_n_u32(std::uint32_t(value))};
    }
    static FASTNORM_INLINE V load(const float* source) { return {vld1q_f32(source)}; }
    static FASTNORM_INLINE void store(float* target, V v) { vst1q_f32(target, v.r); }
    template <class S>
    static FASTNORM_INLINE V load(const S* source) {
        return {widen_four(vld1_u16(&source->bits), source)};
    }
    template <class S>
    static FASTNORM_INLINE void store(S* target, V v) {
        vst1_u16(&target->bits, narrow_four(v.r, target));
    }
    template <class S>
    static FASTNORM_INLINE void stream(S* target, V v) {
        store(target, v);
    }
    // Of a whole vector's registers one at most is partial: the others need no call.
    template <class S>
    static FASTNORM_INLINE V load_partial(const S* source, int count, float fill) {
        return count >= 4 ? load(source) : load_few(source, count, fill);
    }
    template <class S>
    static FASTNORM_INLINE void store_partial(S* target, V v, int count) {
        if (count >= 4) return store(target, v);
        store_few(target, v, count);
    }

private:
    template <class S>
    static FASTNORM_OUTLINE V load_few(const S* source, int count, float fill) {
        float lanes[4] = {fill, fill, fill, fill};
        for (int i = 0; i < count; ++i) lanes[i] = widen(source[i]);
        return load(static_cast<const float*>(lanes));
    }
    template <class S>
    static FASTNORM_OUTLINE void store_few(S* target, V v, int count) {
        S lanes[4];
        store(static_cast<S*>(lanes), v);
        for (int i = 0; i < count; ++i) target[i] = lanes[i];
    }
};

template <>
struct Memory<Vec<float, 2>> {
    static FASTNORM_INLINE Vec<float, 2> load(const float* source) { return {vld1_f32(source)}; }
    template <class S>
    static FASTNORM_INLINE Vec<float, 2> load(const S* source) {
        std::uint32_t two;
        std::memcpy(&two, source, sizeof two);
        return {vget_low_f32(widen_four(vreinterpret_u16_u32(vdup_n_u32(two)), source))};
    }
};

template <>
struct Memory<Vec<double, 2>> {
    using V = Vec<double, 2>;
    static FASTNORM_INLINE V broadcast(double value) { return {vdupq_n_f64(value)}; }
    static FASTNORM_INLINE Bits<double, 2> broadcast_bits(std::int64_t value) {
        return {vdupq_n_u64(std::uint64_t(value))};
    }
    static FASTNORM_INLINE V load(const double* source) { return {vld1q_f64(source)}; }
    static FASTNORM_INLINE void store(double* target, V v) { vst1q_f64(target, v.r); }
    static FASTNORM_INLINE void stream(double* target, V v) { vst1q_f64(target, v.r); }
    static FASTNORM_OUTLINE V load_partial(const double* source, int count, double fill) {
        const double lanes[2] = {count > 0 ? source[0] : fill, count > 1 ? source[1] : fill};
        return {vld1q_f64(lanes)};
    }
    static FASTNORM_OUTLINE void store_partial(double* target, V v, int count) {
        if (count > 0) target[0] = first(v);
        if (count > 1) target[1] = second(v);
    }
};

FASTNORM_TARGET_END
