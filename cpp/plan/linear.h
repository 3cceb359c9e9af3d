// linear and gated_linear: the products they are made of.
#pragma once

#include "plan/products.h"

namespace fastnorm {

// Biases are contiguous, of the compute type, or null; so are their gradients.
struct Layer {
    Element element;
    MatrixView x, weight;
    const void* bias;
    Activation activation;
};
struct LayerGradients {
    MatrixView dx, dweight;
    void* dbias;
};

// y = gate(x w_gate + b_gate) * (x w_up + b_up).
struct GatedLayer {
    Element element;
    MatrixView x, w_gate, w_up;
    const void *b_gate, *b_up;
    Activation gate;
    double beta;
};
struct GatedGradients {
    MatrixView dx, dw_gate, dw_up;
    void *db_gate, *db_up;
};

// What all products of a layer take one thread.
double linear_nanoseconds(const Layer& layer);
double linear_backward_nanoseconds(const Layer& layer);
double gated_linear_nanoseconds(const GatedLayer& layer);
double gated_linear_backward_nanoseconds(const GatedLayer& layer);

// False where there is no memory for scratch and what lies between the products.
bool run_linear(const Layer& layer, const MatrixView& y) noexcept;
bool run_linear_backward(const Layer& layer, const MatrixView& dy, const LayerGradients& gradients) noexcept;
bool run_gated_linear(const GatedLayer& layer, const MatrixView& y) noexcept;
bool run_gated_linear_backward(
    const GatedLayer& layer, const MatrixView& dy, const GatedGradients& gradients
) noexcept;

}  // namespace fastnorm
