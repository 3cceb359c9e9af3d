// What is said to compilers in words of their own.
//
// Functions that objects for different processors share must be inlined in each: a copy that two objects
// define weakly is kept once by the linker, compiled for whichever processor it met first. For the same
// reason kernels use C functions alone of the standard library (memcpy, sqrt of a double), no templates or
// overloads.
#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define FASTNORM_INLINE inline __attribute__((always_inline))
#define FASTNORM_INLINE_LAMBDA __attribute__((always_inline))
#define FASTNORM_OUTLINE __attribute__((noinline))
#define FASTNORM_RARE __attribute__((noinline, cold))
#elif defined(_MSC_VER)
#define FASTNORM_INLINE __forceinline
#define FASTNORM_INLINE_LAMBDA
#define FASTNORM_OUTLINE __declspec(noinline)
#define FASTNORM_RARE __declspec(noinline)
#else
#define FASTNORM_INLINE inline
#define FASTNORM_INLINE_LAMBDA
#define FASTNORM_OUTLINE
#define FASTNORM_RARE
#endif

// Loops over a few vectors held in an array, and over as many as a tile or a square of registers has: only
// unrolled do they live in registers.
#if defined(__clang__)
#define FASTNORM_UNROLL _Pragma("clang loop unroll(full)")
#define FASTNORM_UNROLL_REGISTERS _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define FASTNORM_UNROLL _Pragma("GCC unroll 8")
#define FASTNORM_UNROLL_REGISTERS _Pragma("GCC unroll 16")
#else
#define FASTNORM_UNROLL
#define FASTNORM_UNROLL_REGISTERS
#endif

// Fetches a cache line to be read (write 0) or written (1), to stay in caches from the nearest (3) to none
// (0).
#if defined(__GNUC__) || defined(__clang__)
#define FASTNORM_PREFETCH(address, write, locality) __builtin_prefetch(address, write, locality)
#else
#define FASTNORM_PREFETCH(address, write, locality) static_cast<void>(address)
#endif

// Keeps an address in one register that is walked: compilers would compute the addresses of an unrolled loop
// one by one from what it began with, and keep more of them than there are registers.
#if defined(__GNUC__) || defined(__clang__)
#define FASTNORM_WALKED(address) __asm__("" : "+r"(address))
#else
#define FASTNORM_WALKED(address) static_cast<void>(address)
#endif

// Where a target would rather be small than fast, functions of simd/math.h are calls, and loops over columns
// have one body.
#if defined(FASTNORM_COMPACT)
#define FASTNORM_MATH inline
#define FASTNORM_IS_COMPACT true
#else
#define FASTNORM_MATH FASTNORM_INLINE
#define FASTNORM_IS_COMPACT false
#endif
