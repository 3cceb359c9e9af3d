// The optimisers as a binding calls them: the rule that Python hands over, and one update of one parameter.
#pragma once

#include "bindings/arrays.h"

namespace fastnorm {

// fastnorm._arguments.optim.Rule, recognised. Holds borrowed references.
struct OptimizerRule {
    bool is_adam = false;
    double lr = 0, momentum = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
    bool nesterov = false, decoupled = false, corrected_eps = false;
    std::int64_t* steps = nullptr;  // updates made so far (Adam)
    PyObject* first = nullptr;      // tuples of state, one array a parameter: velocities or moments
    PyObject* second = nullptr;

    // State of the parameter of this number; null where there is none.
    void* first_of(Py_ssize_t i) const { return first ? state(first, i) : nullptr; }
    void* second_of(Py_ssize_t i) const { return second ? state(second, i) : nullptr; }

private:
    static void* state(PyObject* arrays, Py_ssize_t i) {
        return PyArray_DATA(reinterpret_cast<PyArrayObject*>(PyTuple_GET_ITEM(arrays, i)));
    }
};

// False where the rule is not one, or its state does not fit the parameters (no error is set).
bool as_rule(PyObject* slot, const Array* parameters, Py_ssize_t count, OptimizerRule& rule);

// One update of one parameter, contiguous elements at `data`, on threads. `step` counts from 1. The GIL may
// be held or not.
void update_parameter(
    const OptimizerRule& rule, std::int64_t step, Element element, void* data, std::int64_t size,
    const void* gradient, bool wide, void* first, void* second
);

}  // namespace fastnorm
