#include "kernels/class_losses/kernels.h"

#include "kernels/class_losses/class_loss.h"
#include "kernels/class_losses/linear_cross_entropy.h"
#include "kernels/class_losses/nll_loss.h"

FASTNORM_FILL(ClassLossKernels, FASTNORM_CLASS_LOSSES)
