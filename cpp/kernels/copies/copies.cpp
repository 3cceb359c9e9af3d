#include "kernels/copies/kernels.h"

#include "kernels/copies/copy.h"
#include "kernels/copies/gather.h"
#include "kernels/copies/move_columns.h"
#include "kernels/copies/move_rows.h"

FASTNORM_FILL(CopyKernels, FASTNORM_COPIES)
