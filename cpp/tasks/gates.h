// What the kernels of the gated units are given.
#pragma once

#include "tasks/elementwise.h"

namespace fastnorm {

// Forward: gate, up -> y. Backward: dy, gate, up -> dgate, dup.
struct Gate : Elementwise {
    double beta = 1;  // swiglu: act(gate) = gate sigmoid(beta gate)
};

}  // namespace fastnorm
