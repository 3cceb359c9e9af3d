#include "kernels/gates/kernels.h"

#include "kernels/gates/bilinear.h"
#include "kernels/gates/geglu.h"
#include "kernels/gates/glu.h"
#include "kernels/gates/reglu.h"
#include "kernels/gates/swiglu.h"

FASTNORM_FILL(GateKernels, FASTNORM_GATES)
