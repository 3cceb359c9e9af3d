// Registers of one lane: plain C++.
//
// baseline's off x86, where multiply-adds are fused if the processor has an instruction for them (64-bit ARM,
// POWER, IBM Z): then its results have the bits of every other target with fused multiply-add. And, with
// FASTNORM_FUSED, the independent witness of the native tests that results do not depend on the register
// width.
#pragma once

#include <cstring>

#include <cmath>

#include "simd/halves.h"

FASTNORM_TARGET_BEGIN

#if defined(FASTNORM_FUSED) || defined(FP_FAST_FMA) || defined(__FP_FAST_FMA) || defined(__aarch64__)
constexpr bool has_fma = true;
FASTNORM_INLINE float multiplied_and_added(float a, float b, float c) { return ::fmaf(a, b, c); }
FASTNORM_INLINE double multiplied_and_added(double a, double b, double c) { return ::fma(a, b, c); }
#else
constexpr bool has_fma = false;
FASTNORM_INLINE float multiplied_and_added(float a, float b, float c) { return a * b + c; }
FASTNORM_INLINE double multiplied_and_added(double a, double b, double c) { return a * b + c; }
#endif
constexpr bool has_scale = false;
constexpr int register_count = 16, most_looked_up = 32;
constexpr std::size_t stream_alignment = 8;
template <class T>
constexpr int native = 1;

#define FASTNORM_SCALAR_BINARY(T, name, expression) \
    FASTNORM_INLINE Vec<T, 1> name(Vec<T, 1> a, Vec<T, 1> b) { return {expression}; }
#define FASTNORM_SCALAR_COMPARE(T, op) \
    FASTNORM_INLINE Mask<T, 1> operator op(Vec<T, 1> a, Vec<T, 1> b) { return {a.r op b.r}; }
#define FASTNORM_SCALAR_BITS(T, op) \
    FASTNORM_INLINE Bits<T, 1> operator op(Bits<T, 1> a, Bits<T, 1> b) { return {a.r op b.r}; }
#define FASTNORM_SCALAR_REGISTER(T, I)                                                                     \
    template <>                                                                                            \
    struct Vec<T, 1> {                                                                                     \
        T r;                                                                                               \
    };                                                                                                     \
    template <>                                                                                            \
    struct Mask<T, 1> {                                                                                    \
        bool r;                                                                                            \
    };                                                                                                     \
    template <>                                                                                            \
    struct Bits<T, 1> {                                                                                    \
        I r;                                                                                               \
    };                                                                                                     \
    FASTNORM_SCALAR_BINARY(T, operator+, a.r + b.r)                                                        \
    FASTNORM_SCALAR_BINARY(T, operator-, a.r - b.r)                                                        \
    FASTNORM_SCALAR_BINARY(T, operator*, a.r* b.r)                                                         \
    FASTNORM_SCALAR_BINARY(T, operator/, a.r / b.r)                                                        \
    FASTNORM_SCALAR_BINARY(T, min, a.r < b.r ? a.r : b.r)                                                  \
    FASTNORM_SCALAR_BINARY(T, max, a.r > b.r ? a.r : b.r)                                                  \
    FASTNORM_SCALAR_BINARY(T, copy_sign, std::copysign(a.r, b.r))                                          \
    FASTNORM_SCALAR_COMPARE(T, <)                                                                          \
    FASTNORM_SCALAR_COMPARE(T, <=)                                                                         \
    FASTNORM_SCALAR_COMPARE(T, >)                                                                          \
    FASTNORM_SCALAR_COMPARE(T, >=)                                                                         \
    FASTNORM_SCALAR_COMPARE(T, ==)                                                                         \
    FASTNORM_SCALAR_COMPARE(T, !=)                                                                         \
    FASTNORM_SCALAR_BITS(T, +)                                                                             \
    FASTNORM_SCALAR_BITS(T, -)                                                                             \
    FASTNORM_SCALAR_BITS(T, &)                                                                             \
    FASTNORM_SCALAR_BITS(T, |)                                                                             \
    FASTNORM_SCALAR_BITS(T, ^)                                                                             \
    FASTNORM_INLINE Vec<T, 1> operator-(Vec<T, 1> a) { return {-a.r}; }                                    \
    FASTNORM_INLINE Vec<T, 1> abs(Vec<T, 1> a) { return {std::fabs(a.r)}; }                                \
    FASTNORM_INLINE Vec<T, 1> sqrt(Vec<T, 1> a) { return {std::sqrt(a.r)}; }                               \
    FASTNORM_INLINE Vec<T, 1> mul_add(Vec<T, 1> a, Vec<T, 1> b, Vec<T, 1> c) {                             \
        return {multiplied_and_added(a.r, b.r, c.r)};                                                      \
    }                                                                                                      \
    FASTNORM_INLINE Vec<T, 1> negative_mul_add(Vec<T, 1> a, Vec<T, 1> b, Vec<T, 1> c) {                    \
        return {multiplied_and_added(-a.r, b.r, c.r)};                                                     \
    }                                                                                                      \
    FASTNORM_INLINE Vec<T, 1> mul_sub(Vec<T, 1> a, Vec<T, 1> b, Vec<T, 1> c) {                             \
        return {multiplied_and_added(a.r, b.r, -c.r)};                                                     \
    }                                                                                                      \
    FASTNORM_INLINE Mask<T, 1> operator&(Mask<T, 1> a, Mask<T, 1> b) { return {a.r && b.r}; }              \
    FASTNORM_INLINE Mask<T, 1> operator|(Mask<T, 1> a, Mask<T, 1> b) { return {a.r || b.r}; }              \
    FASTNORM_INLINE Mask<T, 1> operator!(Mask<T, 1> a) { return {!a.r}; }                                  \
    FASTNORM_INLINE bool any(Mask<T, 1> a) { return a.r; }                                                 \
    FASTNORM_INLINE Vec<T, 1> select(Mask<T, 1> mask, Vec<T, 1> a, Vec<T, 1> b) { return mask.r ? a : b; } \
    FASTNORM_INLINE Bits<T, 1> operator<<(Bits<T, 1> a, int count) { return {a.r << count}; }              \
    FASTNORM_INLINE Bits<T, 1> operator>>(Bits<T, 1> a, int count) { return {a.r >> count}; }              \
    FASTNORM_INLINE Bits<T, 1> as_bits(Vec<T, 1> a) {                                                      \
        Bits<T, 1> b;                                                                                      \
        std::memcpy(&b, &a, sizeof b);                                                                     \
        return b;                                                                                          \
    }                                                                                                      \
    FASTNORM_INLINE Vec<T, 1> from_bits(Bits<T, 1> a) {                                                    \
        Vec<T, 1> b;                                                                                       \
        std::memcpy(&b, &a, sizeof b);                                                                     \
        return b;                                                                                          \
    }                                                                                                      \
    FASTNORM_INLINE Vec<T, 1> lookup8(const T* table, Bits<T, 1> index) { return {table[index.r & 7]}; }   \
    FASTNORM_INLINE Vec<T, 1> lookup16(const T* table, Bits<T, 1> index) { return {table[index.r & 15]}; } \
    FASTNORM_INLINE T first(Vec<T, 2> a) { return a.lo.r; }                                                \
    FASTNORM_INLINE T second(Vec<T, 2> a) { return a.hi.r; }                                               \
    template <>                                                                                            \
    struct Memory<Vec<T, 1>> {                                                                             \
        using V = Vec<T, 1>;                                                                               \
        static FASTNORM_INLINE V broadcast(T value) { return {value}; }                                    \
        static FASTNORM_INLINE Bits<T, 1> broadcast_bits(std::int64_t value) { return {I(value)}; }        \
        template <class S>                                                                                 \
        static FASTNORM_INLINE V load(const S* source) {                                                   \
            return {widen(*source)};                                                                       \
        }                                                                                                  \
        template <class S>                                                                                 \
        static FASTNORM_INLINE void store(S* target, V v) {                                                \
            narrow(v.r, *target);                                                                          \
        }                                                                                                  \
        template <class S>                                                                                 \
        static FASTNORM_INLINE void stream(S* target, V v) {                                               \
            narrow(v.r, *target);                                                                          \
        }                                                                                                  \
        template <class S>                                                                                 \
        static FASTNORM_INLINE V load_partial(const S* source, int count, T fill) {                        \
            return {count > 0 ? widen(*source) : fill};                                                    \
        }                                                                                                  \
        template <class S>                                                                                 \
        static FASTNORM_INLINE void store_partial(S* target, V v, int count) {                             \
            if (count > 0) narrow(v.r, *target);                                                           \
        }                                                                                                  \
    };

FASTNORM_SCALAR_REGISTER(float, std::uint32_t)
FASTNORM_SCALAR_REGISTER(double, std::uint64_t)
FASTNORM_INLINE Bits<double, 1> multiply_words(Bits<double, 1> a, Bits<double, 1> b) {
    return {(a.r & 0xffffffff) * (b.r & 0xffffffff)};
}

template <class T>
FASTNORM_INLINE void interleave(Vec<T, 1> a, Vec<T, 1> b, Vec<T, 1>& lo, Vec<T, 1>& hi) {
    lo = a;
    hi = b;
}
template <class T>
FASTNORM_INLINE Vec<T, 2> swap_neighbours(Vec<T, 2> a) {
    return {a.hi, a.lo};
}

// Eight elements of two bytes of one row: columns of one element.
FASTNORM_INLINE void transpose_halves(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    for (int j = 0; j < 8; ++j) std::memcpy(target[j] + to, source[0] + from + 2 * j, 2);
}

FASTNORM_INLINE Vec<double, 1> to_double(Vec<float, 1> a) { return {double(a.r)}; }
FASTNORM_INLINE Vec<float, 1> to_float(Vec<double, 1> a) { return {float(a.r)}; }

FASTNORM_TARGET_END
