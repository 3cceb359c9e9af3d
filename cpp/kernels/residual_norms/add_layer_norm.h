// add_layer_norm: summed = x + alpha * residual, y = layer_norm(summed). deep_norm is the same without
// `summed` as a result: layer_norm(alpha * residual + x). Both directions: see norm_of_sum.h.
#pragma once

#include "kernels/norms/layer_norm.h"
#include "kernels/residual_norms/norm_of_sum.h"

FASTNORM_TARGET_BEGIN

template <class T>
void add_layer_norm_forward(const AddNormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    add_norm_forward<LayerNorm, T>(task, begin, end, scratch);
}

template <class T>
void add_layer_norm_backward(
    const AddNormBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    add_norm_backward<LayerNorm, T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
