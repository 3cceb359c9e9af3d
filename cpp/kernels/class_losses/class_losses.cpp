#include "kernels/class_losses/kernels.h"

#include "kernels/class_losses/class_loss.h"

FASTNORM_FILL(ClassLossKernels, FASTNORM_CLASS_LOSSES)
