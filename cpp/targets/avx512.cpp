#define FASTNORM_TARGET avx512
#define FASTNORM_REGISTERS "simd/vec_avx512.h"
#include "targets/target.inc"
