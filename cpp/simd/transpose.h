// A square of registers, transposed.
#pragma once

#include "simd/vec.h"

// For loops over as many registers as a tile or a square has: only unrolled do they live in registers.
#if defined(_MSC_VER)
#define FASTNORM_UNROLL_REGISTERS
#elif defined(__clang__)
#define FASTNORM_UNROLL_REGISTERS _Pragma("clang loop unroll(full)")
#else
#define FASTNORM_UNROLL_REGISTERS _Pragma("GCC unroll 16")
#endif

FASTNORM_TARGET_BEGIN

// lo, hi = a0 b0 a1 b1 ...: the elements of two registers in turns.
#if !defined(FASTNORM_REGISTER_BYTES)
#elif FASTNORM_REGISTER_BYTES == 64
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
#elif FASTNORM_REGISTER_BYTES == 32
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
#else
FASTNORM_INLINE void interleave(Vec<float, 4> a, Vec<float, 4> b, Vec<float, 4>& lo, Vec<float, 4>& hi) {
    lo = {_mm_unpacklo_ps(a.r, b.r)};
    hi = {_mm_unpackhi_ps(a.r, b.r)};
}
FASTNORM_INLINE void interleave(Vec<double, 2> a, Vec<double, 2> b, Vec<double, 2>& lo, Vec<double, 2>& hi) {
    lo = {_mm_unpacklo_pd(a.r, b.r)};
    hi = {_mm_unpackhi_pd(a.r, b.r)};
}
#endif

// square[i] lane j <-> square[j] lane i. Interleaving the rows i and i + N/2 moves the highest bit of the
// row's number to the lowest of the lane's, and the highest of the lane's to the lowest of the row's: log2(N)
// rounds exchange them.
template <class T, int N>
FASTNORM_INLINE void transpose(Vec<T, N> (&square)[N]) {
    Vec<T, N> turned[N];
    if constexpr (N > 1) {
        FASTNORM_UNROLL_REGISTERS
        for (int round = 1; round < N; round *= 2) {
            FASTNORM_UNROLL_REGISTERS
            for (int i = 0; i < N / 2; ++i)
                interleave(square[i], square[i + N / 2], turned[2 * i], turned[2 * i + 1]);
            FASTNORM_UNROLL_REGISTERS
            for (int i = 0; i < N; ++i) square[i] = turned[i];
        }
    }
}

FASTNORM_TARGET_END
