// The kernels of one target as the bindings see them.
#pragma once

#include "tasks/activations.h"
#include "tasks/attention.h"
#include "tasks/channel_norms.h"
#include "tasks/elementwise_losses.h"
#include "tasks/embeddings.h"
#include "tasks/gates.h"
#include "tasks/linear.h"
#include "tasks/mlp.h"
#include "tasks/losses.h"
#include "tasks/norms.h"
#include "tasks/optim.h"
#include "tasks/probabilities.h"
#include "tasks/residual_norms.h"

#define FASTNORM_FAMILY activations
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY attention
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY channel_norms
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY elementwise_losses
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY embeddings
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY gates
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY linear
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY losses
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY norms
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY optim
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY probabilities
#include "targets/family.inc"
#undef FASTNORM_FAMILY
#define FASTNORM_FAMILY residual_norms
#include "targets/family.inc"
#undef FASTNORM_FAMILY

namespace fastnorm {

struct NoKernels {};  // ends the list

struct KernelTable :
#define FASTNORM_FAMILY(family) family##_kernels,
#include "kernels/families.inc"
#undef FASTNORM_FAMILY
    NoKernels {
};

}  // namespace fastnorm
