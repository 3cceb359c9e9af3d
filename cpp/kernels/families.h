// Every family of kernels: a folder with a file for each public op, the list of its kernels (kernels.h), and
// <family>.cpp, which the build, reading the lines below, compiles once for each target. (mlp is compiled
// with linear.)
#pragma once

#include "kernels/activations/kernels.h"
#include "kernels/attention/kernels.h"
#include "kernels/channel_norms/kernels.h"
#include "kernels/class_losses/kernels.h"
#include "kernels/copies/kernels.h"
#include "kernels/elementwise_losses/kernels.h"
#include "kernels/embeddings/kernels.h"
#include "kernels/gates/kernels.h"
#include "kernels/linear/kernels.h"
#include "kernels/memory/kernels.h"
#include "kernels/mlp/kernels.h"
#include "kernels/norms/kernels.h"
#include "kernels/optim/kernels.h"
#include "kernels/regularisers/kernels.h"
#include "kernels/residual_norms/kernels.h"
#include "kernels/softmax/kernels.h"

// clang-format off
#define FASTNORM_FAMILIES(family) \
    family(ActivationKernels) \
    family(AttentionKernels) \
    family(ChannelNormKernels) \
    family(ClassLossKernels) \
    family(CopyKernels) \
    family(ElementwiseLossKernels) \
    family(EmbeddingKernels) \
    family(GateKernels) \
    family(LinearKernels) \
    family(MemoryKernels) \
    family(MlpKernels) \
    family(NormKernels) \
    family(OptimKernels) \
    family(RegulariserKernels) \
    family(ResidualNormKernels) \
    family(SoftmaxKernels)
// clang-format on
