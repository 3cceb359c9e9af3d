// The kernels of the gated units.
#pragma once

#include "targets/kernel.h"
#include "tasks/gates.h"

#define FASTNORM_GATES(kernel)            \
    kernel(glu_forward, Gate);            \
    kernel(glu_backward, Gate);           \
    kernel(swiglu_forward, Gate);         \
    kernel(swiglu_backward, Gate);        \
    kernel(swiglu_beta_forward, Gate);    \
    kernel(swiglu_beta_backward, Gate);   \
    kernel(geglu_forward, Gate);          \
    kernel(geglu_backward, Gate);         \
    kernel(geglu_tanh_forward, Gate);     \
    kernel(geglu_tanh_backward, Gate);    \
    kernel(geglu_sigmoid_forward, Gate);  \
    kernel(geglu_sigmoid_backward, Gate); \
    kernel(reglu_forward, Gate);          \
    kernel(reglu_backward, Gate);         \
    kernel(bilinear_forward, Gate);       \
    kernel(bilinear_backward, Gate);

FASTNORM_TABLE(GateKernels, FASTNORM_GATES)
