// add_rms_norm: summed = x + alpha * residual, y = rms_norm(summed). Both directions: see norm_of_sum.h.
#pragma once

#include "kernels/residual_norms/norm_of_sum.h"
#include "kernels/norms/rms_norm.h"

FASTNORM_TARGET_BEGIN

template <class T>
void add_rms_norm_forward(const AddNormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    add_norm_forward<RmsNorm, T>(task, begin, end, scratch);
}

template <class T>
void add_rms_norm_backward(const AddNormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    add_norm_backward<RmsNorm, T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
