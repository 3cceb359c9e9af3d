// Means and variances as arguments of batch_norm: given statistics, and the running arrays.
#pragma once

#include "bindings/arrays.h"

namespace fastnorm {

// mean and rstd given as statistics: of the compute type, or float64.
struct StatisticsArgument {
    MaybeArray mean, rstd;
    bool canonical = true;

    bool given() const { return bool(mean); }
};
StatisticsArgument as_statistics(PyObject* slot, const Array& x, std::int64_t channels);

// running_mean and running_var as contiguous memory, which is written back where it is not the arrays' own.
struct Running {
    Parameter mean, var;
    PyObject* slots[2] = {Py_None, Py_None};

    npy_intp channels = 0, step = 0;  // of the contiguous memory
    Element element = Element::float32;

    bool given() const { return bool(mean.array); }
    View view(const Parameter& parameter) const {
        return {PyArray_BYTES(parameter.array.array()), element, 1, &channels, &step, true};
    }
    bool canonical() const { return mean.canonical && var.canonical; }
    bool failed() const { return mean.failed || var.failed; }
    bool write_back() const;
};
Running as_running(PyObject* mean, PyObject* var, Array& x, const Axes& channel);

// Whether the running arrays can be updated: writeable, and apart from each other and from all other arrays.
bool can_update(const Running& running, std::initializer_list<PyObject*> others, bool checked);

}  // namespace fastnorm
