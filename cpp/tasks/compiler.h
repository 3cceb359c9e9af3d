// How compilers are told what to inline.
//
// Functions that objects for different processors share must be inlined in each: a copy that two objects
// define weakly is kept once by the linker, compiled for whichever processor it met first.
#pragma once

#if defined(_MSC_VER)
#define FASTNORM_INLINE __forceinline
#define FASTNORM_OUTLINE __declspec(noinline)
#define FASTNORM_INLINE_LAMBDA
#define FASTNORM_UNROLL
#else
#define FASTNORM_INLINE inline __attribute__((always_inline))
#define FASTNORM_OUTLINE __attribute__((noinline))
#define FASTNORM_INLINE_LAMBDA __attribute__((always_inline))
// For loops over a few vectors held in an array: only unrolled do they live in registers.
#if defined(__clang__)
#define FASTNORM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FASTNORM_UNROLL _Pragma("GCC unroll 8")
#endif
#endif

// Functions of simd/math.h: calls where a target would rather be small than fast.
#if defined(FASTNORM_COMPACT)
#define FASTNORM_MATH inline
#else
#define FASTNORM_MATH FASTNORM_INLINE
#endif
