#include "bindings/reductions.h"

#include "runtime/dispatch.h"
#include "targets/kernel_table.h"

namespace fastnorm {

std::optional<Reduction> as_reduction(PyObject* slot) {
    if (!PyUnicode_CheckExact(slot)) return std::nullopt;
    if (PyUnicode_CompareWithASCIIString(slot, "mean") == 0) return Reduction::mean;
    if (PyUnicode_CompareWithASCIIString(slot, "sum") == 0) return Reduction::sum;
    if (PyUnicode_CompareWithASCIIString(slot, "none") == 0) return Reduction::none;
    return std::nullopt;
}

PyObject* reduction_name(const char* name) { return PyUnicode_InternFromString(name); }

PyObject* new_scalar(double value, Element element) {
    alignas(8) char rounded[8];
    const RoundLosses task{&value, rounded};
    kernels().round_losses[int(element)](task, 0, 1, nullptr);
    PyArray_Descr* const descr = descr_of(element);
    PyObject* const scalar = PyArray_Scalar(rounded, descr, nullptr);
    Py_DECREF(descr);
    return scalar;
}

}  // namespace fastnorm
