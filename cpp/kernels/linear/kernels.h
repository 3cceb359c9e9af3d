// The kernels of linear and gated_linear.
#pragma once

#include "targets/kernel.h"
#include "tasks/linear.h"

#define FASTNORM_LINEAR(kernel)        \
    kernel(matrix_product, Product);   \
    kernel(column_sums, ColumnSums);   \
    kernel(pack_weight, WeightPanels); \
    kernel(unpack_weight, WeightPanels);

FASTNORM_TABLE(LinearKernels, FASTNORM_LINEAR)
