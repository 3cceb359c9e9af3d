#include "bindings/dense.h"

namespace fastnorm {

std::optional<Activation> as_activation(PyObject* slot) {
    if (slot == Py_None) return Activation::none;
    if (!PyUnicode_CheckExact(slot)) return std::nullopt;
    static const char* const names[] = {"relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"};
    for (int i = 0; i < 6; ++i) {
        if (PyUnicode_CompareWithASCIIString(slot, names[i]) == 0) return Activation(i + 1);
    }
    return std::nullopt;
}

std::optional<Activation> as_gate(PyObject* slot) {
    if (PyUnicode_CheckExact(slot) && PyUnicode_CompareWithASCIIString(slot, "swish") == 0)
        return Activation::swish;
    const std::optional<Activation> gate = as_activation(slot);
    return gate == Activation::silu ? std::nullopt : gate;
}

std::optional<Array> as_weight(PyObject* slot, const Array& x, npy_intp depth) {
    const std::optional<Array> weight = as_array(slot);
    if (!weight || weight->ndim() != 2 || weight->shape()[0] != depth) return std::nullopt;
    if (weight->element != x.element && weight->element != compute_element(x.element)) return std::nullopt;
    return weight;
}

}  // namespace fastnorm
