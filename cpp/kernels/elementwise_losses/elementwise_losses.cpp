#include "kernels/elementwise_losses/kernels.h"

#include "kernels/elementwise_losses/bce_with_logits.h"
#include "kernels/elementwise_losses/huber_loss.h"
#include "kernels/elementwise_losses/kl_div.h"
#include "kernels/elementwise_losses/mse_loss.h"
#include "kernels/elementwise_losses/poly_focal_loss.h"
#include "kernels/elementwise_losses/sigmoid_focal_loss.h"

FASTNORM_FILL(ElementwiseLossKernels, FASTNORM_ELEMENTWISE_LOSSES)
