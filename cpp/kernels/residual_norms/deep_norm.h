// deep_norm: y = layer_norm(alpha * residual + x), x being f(residual): add_layer_norm without `summed` as a
// result, and its backward without dsummed. Source: Wang et al., "DeepNet: Scaling Transformers to 1,000
// Layers", 2022.
#pragma once

#include "kernels/residual_norms/add_layer_norm.h"

FASTNORM_TARGET_BEGIN

template <class T>
void deep_norm_forward(const AddNormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    add_layer_norm_forward<T>(task, begin, end, scratch);
}

template <class T>
void deep_norm_backward(const AddNormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    add_layer_norm_backward<T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
