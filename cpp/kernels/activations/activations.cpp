#include "kernels/activations/activations.h"
#include "kernels/activations/kernels.h"

FASTNORM_FILL(ActivationKernels, FASTNORM_ACTIVATIONS)
