// The registers of the baseline target, which every processor of an architecture has: SSE2 on x86-64, else
// plain C++.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#include "simd/vec_sse2.h"
#else
#include "simd/vec_scalar.h"
#endif
