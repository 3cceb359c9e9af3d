// add_rms_norm: summed = x + alpha * residual, y = rms_norm(summed). Backward, ds being the gradient of
// rms_norm from dy:
//   dx = ds + dsummed,  dresidual = alpha * dx,  parameters as in rms_norm.
#pragma once

#include "kernels/norms/rms_norm.h"
#include "kernels/residual_norms/backward.h"
#include "kernels/residual_norms/forward.h"

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
