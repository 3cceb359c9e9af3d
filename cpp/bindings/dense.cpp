#include "bindings/dense.h"

#include "bindings/packed_weight.h"

namespace fastnorm {

namespace {

struct NamedActivation {
    const char* name;
    Activation activation;
    bool is_gate;
};
#define FASTNORM_NAMED(name, is_gate) {#name, Activation::name, is_gate},
constexpr NamedActivation named_activations[] = {FASTNORM_LAYER_ACTIVATIONS(FASTNORM_NAMED)};
#undef FASTNORM_NAMED

}  // namespace

std::optional<Activation> as_activation(PyObject* slot) {
    if (slot == Py_None) return Activation::none;
    if (!PyUnicode_CheckExact(slot)) return std::nullopt;
    for (const NamedActivation& candidate : named_activations) {
        if (PyUnicode_CompareWithASCIIString(slot, candidate.name) == 0) return candidate.activation;
    }
    return std::nullopt;
}

std::optional<Activation> as_gate(PyObject* slot) {
    if (PyUnicode_CheckExact(slot) && PyUnicode_CompareWithASCIIString(slot, "swish") == 0)
        return Activation::swish;
    const std::optional<Activation> gate = as_activation(slot);
    for (const NamedActivation& candidate : named_activations) {
        if (gate == candidate.activation && !candidate.is_gate) return std::nullopt;
    }
    return gate;
}

MaybeArray as_weight(PyObject* slot, const Array& x, npy_intp depth, Packed packed) {
    MaybeArray weight = as_array(slot);
    if (!weight && packed == Packed::taken) weight = as_packed_weight(slot);
    if (!weight || weight->ndim() != 2 || weight->shape()[0] != depth) return {};
    if (weight->element != x.element && weight->element != compute_element(x.element)) return {};
    return weight;
}

}  // namespace fastnorm
