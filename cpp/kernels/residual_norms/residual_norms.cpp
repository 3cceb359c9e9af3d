#include "kernels/residual_norms/kernels.h"

#include "kernels/residual_norms/add_layer_norm.h"
#include "kernels/residual_norms/add_rms_norm.h"
#include "kernels/residual_norms/deep_norm.h"

FASTNORM_FILL(ResidualNormKernels, FASTNORM_RESIDUAL_NORMS)
