// dweight and dbias of a norm.
#pragma once

#include "bindings/arrays.h"

namespace fastnorm {

// Empty where there is no such parameter. What returns bool is false with an error set where there is no
// memory.
struct ParameterGradients {
    Reference dweight, dbias;

    bool create(const Array& x, const Axes& axes, bool has_weight, bool has_bias);
    // The axes in the order in which the caller gave them, where that was not the array's.
    bool in_given_order(PyObject* axes);

    void* weight_data() const { return dweight ? PyArray_DATA(dweight.array()) : nullptr; }
    void* bias_data() const { return dbias ? PyArray_DATA(dbias.array()) : nullptr; }
    PyObject* weight_or_none() const { return dweight ? dweight.get() : Py_None; }
    PyObject* bias_or_none() const { return dbias ? dbias.get() : Py_None; }
};

}  // namespace fastnorm
