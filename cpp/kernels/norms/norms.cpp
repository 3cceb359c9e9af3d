#include "kernels/norms/kernels.h"

#include "kernels/norms/layer_norm.h"
#include "kernels/norms/parameter_sums.h"
#include "kernels/norms/rms_norm.h"

FASTNORM_FILL(NormKernels, FASTNORM_NORMS)
