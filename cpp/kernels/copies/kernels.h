// The copy that bandwidth is measured by. It has no public op.
#pragma once

#include "targets/kernel.h"
#include "tasks/copies.h"

#define FASTNORM_COPIES(kernel) kernel(copy, Copy);

FASTNORM_TABLE(CopyKernels, FASTNORM_COPIES)
