// The baseline target: what every processor of an architecture has.
#pragma once

#include "simd/vec_sse2.h"
