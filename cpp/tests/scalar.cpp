// The kernels over registers of one lane: the witness of the tests.
#define FASTNORM_TARGET scalar
#define FASTNORM_REGISTERS "simd/vec_scalar.h"
#include "targets/target.inc"
