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

// New arrays for the gradients of weight and bias, empty where there is no bias. `create` is false with an
// error set where there is no memory.
struct NewGradients {
    Reference dweight, dbias;

    bool create(const Array& x, const Array& weight, const Parameter& bias) {
        const int type_number = compute_type_number(x.element);
        dweight = new_array(2, weight.shape(), type_number);
        if (bias.array) dbias = new_array(1, weight.shape() + 1, type_number);
        return dweight && (!bias.array || dbias);
    }
    Array weight_array(const Array& x) const { return Array(dweight.array(), compute_element(x.element)); }
    void* bias_data() const { return dbias ? PyArray_DATA(dbias.array()) : nullptr; }
};

inline PyObject* or_none(Reference& reference) {
    return reference ? reference.release() : Py_NewRef(Py_None);
}

}  // namespace fastnorm
