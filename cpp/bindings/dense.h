// What the bindings of dense layers and of networks of them share: activations by name, shapes and weights.
#pragma once

#include "bindings/arrays.h"
#include "tasks/linear.h"

namespace fastnorm {

// None or the name of an activation; nothing for anything else.
std::optional<Activation> as_activation(PyObject* slot);

// None or the name of a gate: swish, or an activation that is one.
std::optional<Activation> as_gate(PyObject* slot);

// The shape of y: that of x with the last axis replaced.
struct ResultShape {
    npy_intp shape[NPY_MAXDIMS];

    ResultShape(const Array& x, npy_intp cols) {
        std::copy(x.shape(), x.shape() + x.ndim(), shape);
        shape[x.ndim() - 1] = cols;
    }
};

// A weight (in, out) of x's type or the compute type, for `depth` input features. A PackedWeight is one for
// products with the weight as it is; not for those with its transpose, which backwards take too.
enum class Packed { taken, refused };
MaybeArray as_weight(PyObject* slot, const Array& x, npy_intp depth, Packed packed);

}  // namespace fastnorm
