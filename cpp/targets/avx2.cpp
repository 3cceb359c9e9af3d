#define FASTNORM_TARGET avx2
#define FASTNORM_REGISTERS "simd/vec_avx2.h"
#include "targets/target.inc"
