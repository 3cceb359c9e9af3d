// Vec<T, N>: N lanes of float or double, the only vector type the kernels know.
//
// Included once per target, which defines FASTNORM_TARGET (its namespace) and FASTNORM_REGISTERS (the header
// with its registers, vec_<target>.h). Up to the register width a Vec is one register; above it a Vec is a
// pair of halves, so every operation below is the same operation on both halves. A kernel written over
// Vec<float, 16> therefore performs the same arithmetic, lane by lane, on every target, and a reduction that
// folds the upper half onto the lower until one lane is left adds in the same order whatever the register
// width: that is what makes results equal to the bit.
//
// mul_add is the only place where a target may differ: fused where `has_fma`, else rounded twice.
// min and max return the second operand where either is NaN, as the x86 instructions do.
//
// A target's header supplies, for registers of its width and, if they are used one by one, of narrower ones:
// Vec, Mask and Bits; the operations of the pairwise ones below; Memory; to_double, to_float, lower, upper,
// join, first, second; lookup8 and lookup16 (entry index mod 8 or 16 of a table); interleave (a0 b0 a1 b1
// ...); swap_neighbours (a1 a0 a3 a2 ...); and says of itself
//   native<T>          lanes of a register
//   has_fma            whether mul_add and its kin are fused
//   has_scale          whether it has scale(v, n) = v 2^n of its own
//   register_count     how many it has
//   most_looked_up     of how many numbers a column of a table is better looked up than rows loaded and
//                      transposed; where that is below 32 it has store_bits
//   stream_alignment   of addresses for stream, in bytes
// and, where registers are of sixteen bytes and more, load_pieces, store_pieces, transpose_pieces and
// transpose_halves (transpose.h); lookup32 and one_minus_where where it has better ones.
#pragma once

#include "simd/storage.h"
#include "tasks/compiler.h"

// Everything a target compiles has internal linkage inside a namespace of the target's name: the linker can
// never keep one target's copy of an inline function for another.
#define FASTNORM_TARGET_BEGIN   \
    namespace fastnorm {        \
    namespace FASTNORM_TARGET { \
    namespace {
#define FASTNORM_TARGET_END \
    }                       \
    }                       \
    }

FASTNORM_TARGET_BEGIN

template <class T, int N>
struct Vec {
    Vec<T, N / 2> lo, hi;
};
template <class T, int N>
struct Mask {
    Mask<T, N / 2> lo, hi;
};
template <class T, int N>
struct Bits {
    Bits<T, N / 2> lo, hi;
};

template <class V>
struct Memory;  // load, store and broadcast, below

FASTNORM_TARGET_END

#include FASTNORM_REGISTERS

FASTNORM_TARGET_BEGIN

constexpr int register_lanes = register_count * native<float>;  // floats that all registers together hold

// Lane count and element type of a Vec.
template <class V>
struct Lanes;
template <class T, int N>
struct Lanes<Vec<T, N>> {
    using element = T;
    static constexpr int count = N;
};
template <class V>
constexpr int lane_count = Lanes<V>::count;
template <class V>
using element_t = typename Lanes<V>::element;

// ---- pairs of halves --------------------------------------------------------------------------------------

#define FASTNORM_PAIRWISE_UNARY(name)             \
    template <class T, int N>                     \
    FASTNORM_INLINE Vec<T, N> name(Vec<T, N> a) { \
        return {name(a.lo), name(a.hi)};          \
    }
#define FASTNORM_PAIRWISE_BINARY(name)                         \
    template <class T, int N>                                  \
    FASTNORM_INLINE Vec<T, N> name(Vec<T, N> a, Vec<T, N> b) { \
        return {name(a.lo, b.lo), name(a.hi, b.hi)};           \
    }
#define FASTNORM_PAIRWISE_TERNARY(name)                                     \
    template <class T, int N>                                               \
    FASTNORM_INLINE Vec<T, N> name(Vec<T, N> a, Vec<T, N> b, Vec<T, N> c) { \
        return {name(a.lo, b.lo, c.lo), name(a.hi, b.hi, c.hi)};            \
    }
#define FASTNORM_PAIRWISE_COMPARE(name)                         \
    template <class T, int N>                                   \
    FASTNORM_INLINE Mask<T, N> name(Vec<T, N> a, Vec<T, N> b) { \
        return {name(a.lo, b.lo), name(a.hi, b.hi)};            \
    }

FASTNORM_PAIRWISE_UNARY(operator-)
FASTNORM_PAIRWISE_UNARY(sqrt)
FASTNORM_PAIRWISE_UNARY(abs)
FASTNORM_PAIRWISE_UNARY(swap_neighbours)
FASTNORM_PAIRWISE_BINARY(operator+)
FASTNORM_PAIRWISE_BINARY(operator-)
FASTNORM_PAIRWISE_BINARY(operator*)
FASTNORM_PAIRWISE_BINARY(operator/)
FASTNORM_PAIRWISE_BINARY(min)
FASTNORM_PAIRWISE_BINARY(max)
FASTNORM_PAIRWISE_BINARY(copy_sign)
FASTNORM_PAIRWISE_TERNARY(mul_add)
FASTNORM_PAIRWISE_TERNARY(negative_mul_add)
FASTNORM_PAIRWISE_TERNARY(mul_sub)
FASTNORM_PAIRWISE_COMPARE(operator<)
FASTNORM_PAIRWISE_COMPARE(operator<=)
FASTNORM_PAIRWISE_COMPARE(operator>)
FASTNORM_PAIRWISE_COMPARE(operator>=)
FASTNORM_PAIRWISE_COMPARE(operator==)
FASTNORM_PAIRWISE_COMPARE(operator!=)

template <class T, int N>
FASTNORM_INLINE Mask<T, N> is_nan(Vec<T, N> a) {
    return a != a;
}
template <class T, int N>
FASTNORM_INLINE Mask<T, N> operator&(Mask<T, N> a, Mask<T, N> b) {
    return {a.lo & b.lo, a.hi & b.hi};
}
template <class T, int N>
FASTNORM_INLINE Mask<T, N> operator|(Mask<T, N> a, Mask<T, N> b) {
    return {a.lo | b.lo, a.hi | b.hi};
}
template <class T, int N>
FASTNORM_INLINE Mask<T, N> operator!(Mask<T, N> a) {
    return {!a.lo, !a.hi};
}
template <class T, int N>
FASTNORM_INLINE bool any(Mask<T, N> a) {
    return any(a.lo) || any(a.hi);
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> select(Mask<T, N> mask, Vec<T, N> a, Vec<T, N> b) {
    return {select(mask.lo, a.lo, b.lo), select(mask.hi, a.hi, b.hi)};
}

#define FASTNORM_PAIRWISE_BITS(op)                                       \
    template <class T, int N>                                            \
    FASTNORM_INLINE Bits<T, N> operator op(Bits<T, N> a, Bits<T, N> b) { \
        return {a.lo op b.lo, a.hi op b.hi};                             \
    }
FASTNORM_PAIRWISE_BITS(+)
FASTNORM_PAIRWISE_BITS(-)
FASTNORM_PAIRWISE_BITS(&)
FASTNORM_PAIRWISE_BITS(|)
FASTNORM_PAIRWISE_BITS(^)
// Products of the lower 32 bits of lanes of 64.
template <int N>
FASTNORM_INLINE Bits<double, N> multiply_words(Bits<double, N> a, Bits<double, N> b) {
    return {multiply_words(a.lo, b.lo), multiply_words(a.hi, b.hi)};
}
template <class T, int N>
FASTNORM_INLINE Bits<T, N> operator<<(Bits<T, N> a, int count) {
    return {a.lo << count, a.hi << count};
}
template <class T, int N>
FASTNORM_INLINE Bits<T, N> operator>>(Bits<T, N> a, int count) {
    return {a.lo >> count, a.hi >> count};
}
template <class T, int N>
FASTNORM_INLINE Bits<T, N> as_bits(Vec<T, N> a) {
    return {as_bits(a.lo), as_bits(a.hi)};
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> from_bits(Bits<T, N> a) {
    return {from_bits(a.lo), from_bits(a.hi)};
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> lookup8(const T* table, Bits<T, N> index) {
    return {lookup8(table, index.lo), lookup8(table, index.hi)};
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> lookup16(const T* table, Bits<T, N> index) {
    return {lookup16(table, index.lo), lookup16(table, index.hi)};
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N / 2> lower(Vec<T, N> a) {
    return a.lo;
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N / 2> upper(Vec<T, N> a) {
    return a.hi;
}
template <int N>
FASTNORM_INLINE Vec<double, N> to_double(Vec<float, N> a) {
    return {to_double(lower(a)), to_double(upper(a))};
}
template <int N>
FASTNORM_INLINE Vec<double, N> to_double(Vec<double, N> a) {
    return a;
}
template <int N>
FASTNORM_INLINE Vec<float, N> to_float(Vec<double, N> a) {
    return join(to_float(a.lo), to_float(a.hi));
}
template <class T, int N>
FASTNORM_INLINE Vec<T, 2 * N> join(Vec<T, N> lo, Vec<T, N> hi) {
    return {lo, hi};
}

// ---- memory -----------------------------------------------------------------------------------------------
// Memory<V>: load, store and broadcast of one Vec; registers specialise it, pairs recurse.
// T is the element type in memory: the lane type itself, or float16 / bfloat16 for float lanes.

template <class T, int N>
struct Memory<Vec<T, N>> {
    using Half = Memory<Vec<T, N / 2>>;
    static FASTNORM_INLINE Vec<T, N> broadcast(T value) {
        return {Half::broadcast(value), Half::broadcast(value)};
    }
    static FASTNORM_INLINE Bits<T, N> broadcast_bits(std::int64_t value) {
        return {Half::broadcast_bits(value), Half::broadcast_bits(value)};
    }
    template <class S>
    static FASTNORM_INLINE Vec<T, N> load(const S* source) {
        return {Half::load(source), Half::load(source + N / 2)};
    }
    template <class S>
    static FASTNORM_INLINE void store(S* target, Vec<T, N> v) {
        Half::store(target, v.lo);
        Half::store(target + N / 2, v.hi);
    }
    template <class S>
    static FASTNORM_INLINE void stream(S* target, Vec<T, N> v) {
        Half::stream(target, v.lo);
        Half::stream(target + N / 2, v.hi);
    }
    template <class S>
    static FASTNORM_INLINE Vec<T, N> load_partial(const S* source, int count, T fill) {
        const int low = count < N / 2 ? count : N / 2;
        return {Half::load_partial(source, low, fill), Half::load_partial(source + low, count - low, fill)};
    }
    template <class S>
    static FASTNORM_INLINE void store_partial(S* target, Vec<T, N> v, int count) {
        const int low = count < N / 2 ? count : N / 2;
        Half::store_partial(target, v.lo, low);
        Half::store_partial(target + low, v.hi, count - low);
    }
};

template <class V>
FASTNORM_INLINE V broadcast(element_t<V> value) {
    return Memory<V>::broadcast(value);
}
template <class V>
FASTNORM_INLINE auto broadcast_bits(std::int64_t value) {
    return Memory<V>::broadcast_bits(value);
}
template <class V, class S>
FASTNORM_INLINE V load(const S* source) {
    return Memory<V>::load(source);
}
template <class S, class T, int N>
FASTNORM_INLINE void store(S* target, Vec<T, N> v) {
    Memory<Vec<T, N>>::store(target, v);
}
// A store past the caches; `target` must be aligned to stream_alignment bytes.
template <class S, class T, int N>
FASTNORM_INLINE void stream(S* target, Vec<T, N> v) {
    Memory<Vec<T, N>>::stream(target, v);
}
// The first `count` lanes from memory, `fill` in the others; nothing past source + count is read.
template <class V, class S>
FASTNORM_INLINE V load_partial(const S* source, int count, element_t<V> fill) {
    return Memory<V>::load_partial(source, count, fill);
}
template <class S, class T, int N>
FASTNORM_INLINE void store_partial(S* target, Vec<T, N> v, int count) {
    Memory<Vec<T, N>>::store_partial(target, v, count);
}

// Starts bringing in the cache lines of the 16 elements at `address`, to be read from the second-level cache
// on or to be written. Nothing is accessed: the address may lie outside any array.
template <class T>
FASTNORM_INLINE void prefetch_read(const T* address) {
    FASTNORM_PREFETCH(address, 0, 2);
    if (sizeof(T) == 8) FASTNORM_PREFETCH(reinterpret_cast<const char*>(address) + 64, 0, 2);
}
template <class T>
FASTNORM_INLINE void prefetch_write(const T* address) {
    FASTNORM_PREFETCH(address, 1, 3);
    if (sizeof(T) == 8) FASTNORM_PREFETCH(reinterpret_cast<const char*>(address) + 64, 1, 3);
}

// ---- derived ----------------------------------------------------------------------------------------------

// 1 - a where the mask is set, else a.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> one_minus_where(Mask<T, N> mask, Vec<T, N> a) {
    if constexpr (N > native<T>) {
        return {one_minus_where(mask.lo, a.lo), one_minus_where(mask.hi, a.hi)};
    } else {
        return select(mask, broadcast<Vec<T, N>>(T(1)) - a, a);
    }
}

// v, and 0 of its sign where v is subnormal. Every multiplication by a subnormal number or to one takes some
// processors a hundred cycles and more: with 5 to 16 % of them among its gradients a product took 30 to 60
// times as long (Sapphire Rapids), and they count for nothing beside what they are added to there.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> without_subnormals(Vec<T, N> v) {
    using V = Vec<T, N>;
    const V least = broadcast<V>(sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022));
    return select((v < least) & (v > -least), copy_sign(broadcast<V>(0), v), v);
}

// 0 where the mask is set, else a.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> zero_where(Mask<T, N> mask, Vec<T, N> a) {
    if constexpr (N > native<T>) {
        return {zero_where(mask.lo, a.lo), zero_where(mask.hi, a.hi)};
    } else {
        return select(mask, broadcast<Vec<T, N>>(T(0)), a);
    }
}

// v * 2^n for integral n, rounded once (to a subnormal where the result is one), |n| <= 200 in float and 2000
// in double. Without an instruction for it: two multiplications by powers of two, of which the first cannot
// round for the v it is used on (2^-20 < |v| < 2^20).
template <class T, int N>
FASTNORM_INLINE Vec<T, N> scale(Vec<T, N> v, Vec<T, N> n) {
    using V = Vec<T, N>;
    if constexpr (has_scale) {
        return {scale(v.lo, n.lo), scale(v.hi, n.hi)};
    } else {
        constexpr bool is_float = sizeof(T) == 4;
        constexpr int mantissa_bits = is_float ? 23 : 52;
        const V limit = broadcast<V>(is_float ? T(100) : T(1000));
        // n + magic holds n in its low mantissa bits; shifted into the exponent and added to 1.0 it makes
        // 2^n.
        const V magic = broadcast<V>(is_float ? T(0x1.8p23) : T(0x1.8p52));
        const auto one = as_bits(broadcast<V>(T(1)));
        const V near = max(min(n, limit), -limit);
        const V rest = max(min(n - near, limit), -limit);
        const V near_power = from_bits((as_bits(near + magic) << mantissa_bits) + one);
        const V rest_power = from_bits((as_bits(rest + magic) << mantissa_bits) + one);
        return (v * near_power) * rest_power;
    }
}

// The same, but 0 where v * 2^n is known to vanish: whatever v and n are there, no lane has to underflow,
// which takes as long as other operations on subnormal numbers (above).
template <class T, int N>
FASTNORM_INLINE Vec<T, N> scale_or_zero(Mask<T, N> vanishes, Vec<T, N> v, Vec<T, N> n) {
    if constexpr (has_scale) {
        return {scale_or_zero(vanishes.lo, v.lo, n.lo), scale_or_zero(vanishes.hi, v.hi, n.hi)};
    } else {
        return zero_where(vanishes, scale(v, zero_where(vanishes, n)));
    }
}

// The same where |v| 2^n may be subnormal, by normal numbers alone: v 2^n is counted in smallest numbers, and
// that count, rounded, is the bits of the result. For 2^-20 < |v| < 2^20 or v = 0, and n > -200 in float.
template <int N>
FASTNORM_INLINE Vec<float, N> scale_gradually(Vec<float, N> v, Vec<float, N> n) {
    using V = Vec<float, N>;
    const V whole = broadcast<V>(0x1p23f);
    const V count = abs(scale(v, n + broadcast<V>(149)));
    const auto is_subnormal = count < whole;
    const V subnormal = from_bits(as_bits(count + whole) - as_bits(whole));
    const V normal = scale(v, select(is_subnormal, broadcast<V>(0), n));
    return select(is_subnormal, copy_sign(subnormal, v), normal);
}

// One of 32 numbers, aligned to 64 bytes, by the low five bits of the index.
template <int N>
FASTNORM_INLINE Vec<float, N> lookup32(const float* table, Bits<float, N> index) {
    if constexpr (N > native<float>) {
        return {lookup32(table, index.lo), lookup32(table, index.hi)};
    } else {
        using V = Vec<float, N>;
        // The fifth bit as the sign of a number other than zero.
        const V sign = from_bits((index << 27) | broadcast_bits<V>(1));
        return select(sign < broadcast<V>(0), lookup16(table + 16, index), lookup16(table, index));
    }
}

// The exact product a*b as hi + lo. Without FMA by Dekker's splitting (exact while |a|, |b| < 2^996 / 2^115
// and the product stays normal).
template <class T, int N>
FASTNORM_INLINE Vec<T, N> two_product(Vec<T, N> a, Vec<T, N> b, Vec<T, N>& lo) {
    using V = Vec<T, N>;
    const V hi = a * b;
    if constexpr (has_fma) {
        lo = mul_sub(a, b, hi);
    } else {
        const V splitter = broadcast<V>(sizeof(T) == 8 ? T(134217729) : T(4097));
        const V a_scaled = splitter * a, b_scaled = splitter * b;
        const V a_hi = a_scaled - (a_scaled - a), b_hi = b_scaled - (b_scaled - b);
        const V a_lo = a - a_hi, b_lo = b - b_hi;
        lo = ((a_hi * b_hi - hi) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
    }
    return hi;
}

// The canonical sum of the lanes: fold the upper half onto the lower until one lane is left.
template <class T>
FASTNORM_INLINE T sum(Vec<T, 2> v) {
    return first(v) + second(v);
}
template <class T, int N>
FASTNORM_INLINE T sum(Vec<T, N> v) {
    return sum(lower(v) + upper(v));
}
template <class T>
FASTNORM_INLINE T largest(Vec<T, 2> v) {
    const T a = first(v), b = second(v);
    return a > b ? a : b;
}
template <class T, int N>
FASTNORM_INLINE T largest(Vec<T, N> v) {
    return largest(max(lower(v), upper(v)));
}

FASTNORM_TARGET_END
