// The kernels of linear.inc.
#pragma once

#include "kernels/column_sums.h"
#include "kernels/mlp.h"
#include "kernels/product.h"
