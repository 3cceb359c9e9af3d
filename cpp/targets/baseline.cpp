#define FASTNORM_TARGET baseline
#define FASTNORM_REGISTERS "simd/vec_baseline.h"
#include "targets/target.inc"
