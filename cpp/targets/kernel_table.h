// The kernels of one target as the bindings see them.
#pragma once

#include "tasks/activations.h"
#include "tasks/gates.h"
#include "tasks/norms.h"
#include "tasks/optim.h"
#include "tasks/probabilities.h"

namespace fastnorm {

// Each kernel exists for every element type.
struct KernelTable {
#define FASTNORM_KERNEL(name, Task) \
    void (*name[element_count])(const Task& task, std::int64_t begin, std::int64_t end, void* scratch);
#include "kernels/activations.inc"
#include "kernels/gates.inc"
#include "kernels/norms.inc"
#include "kernels/optim.inc"
#include "kernels/probabilities.inc"
#undef FASTNORM_KERNEL
};

}  // namespace fastnorm
