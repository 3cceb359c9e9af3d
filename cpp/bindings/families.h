// The ops of each family, as the type Op finds them by name.
#pragma once

#include "bindings/op.h"

namespace fastnorm {

extern const NativeOp norm_ops[];
extern const NativeOp channel_norm_ops[];
extern const NativeOp residual_norm_ops[];
extern const NativeOp activation_ops[];
extern const NativeOp gate_ops[];
extern const NativeOp softmax_ops[];
extern const NativeOp class_loss_ops[];
extern const NativeOp linear_cross_entropy_ops[];
extern const NativeOp elementwise_loss_ops[];
extern const NativeOp linear_ops[];
extern const NativeOp mlp_ops[];
extern const NativeOp attention_ops[];
extern const NativeOp memory_ops[];
extern const NativeOp embedding_ops[];
extern const NativeOp optim_ops[];
extern const NativeOp regulariser_ops[];

inline const NativeOp* const families[] = {
    norm_ops,
    channel_norm_ops,
    residual_norm_ops,
    activation_ops,
    gate_ops,
    softmax_ops,
    class_loss_ops,
    linear_cross_entropy_ops,
    elementwise_loss_ops,
    linear_ops,
    mlp_ops,
    attention_ops,
    memory_ops,
    embedding_ops,
    optim_ops,
    regulariser_ops,
};

}  // namespace fastnorm
