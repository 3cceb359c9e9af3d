// One object with mlp, which is made of the same tiles and activations: compiled apart they add 108 kB to a
// wheel of 1.9 MB.
#include "kernels/linear/kernels.h"
#include "kernels/mlp/kernels.h"

#include "kernels/linear/column_sums.h"
#include "kernels/linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/matrix_product.h"
#include "kernels/linear/pack_weight.h"
#include "kernels/mlp/mlp.h"

FASTNORM_FILL(LinearKernels, FASTNORM_LINEAR)
FASTNORM_FILL(MlpKernels, FASTNORM_MLP)
