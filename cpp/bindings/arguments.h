// From the arguments of a call to values: what is taken straight away.
//
// The rules for arguments are stated once, in the Python package fastnorm._arguments. The functions here only
// recognise arguments that need no rule: exact ndarrays of a supported type, Python ints, floats and bools of
// valid value. They answer "not canonical" for anything else, set no error, and the op then asks
// fastnorm._arguments, which raises the error or returns canonical arguments. What memory safety needs
// (types, shapes, writeability) is checked here every time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include "bindings/numpy.h"
#include "bindings/op.h"
#include "plan/view.h"

namespace fastnorm {

// A new reference that is dropped on leaving the scope.
class Reference {
public:
    Reference() = default;
    explicit Reference(PyObject* object) : object_(object) {}
    Reference(const Reference&) = delete;
    Reference& operator=(const Reference&) = delete;
    Reference(Reference&& other) noexcept : object_(other.release()) {}
    Reference& operator=(Reference&& other) noexcept {
        PyObject* before = object_;
        object_ = other.release();
        Py_XDECREF(before);
        return *this;
    }
    ~Reference() { Py_XDECREF(object_); }

    PyObject* get() const { return object_; }
    PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(object_); }
    PyObject* release() {
        PyObject* object = object_;
        object_ = nullptr;
        return object;
    }
    explicit operator bool() const { return object_ != nullptr; }

private:
    PyObject* object_ = nullptr;
};

// A part of an array: it has the axes and strides of the whole, but its own shape and start.
struct Part {
    char* data;
    npy_intp shape[NPY_MAXDIMS];
};

// An exact ndarray of one of the four types in native byte order, or a part of one.
struct Array {
    PyArrayObject* object = nullptr;
    Element element = Element::float32;
    const Part* part = nullptr;

    int ndim() const { return PyArray_NDIM(object); }
    const npy_intp* shape() const { return part ? part->shape : PyArray_DIMS(object); }
    const npy_intp* strides() const { return PyArray_STRIDES(object); }
    char* data() const { return part ? part->data : PyArray_BYTES(object); }
    bool is_c_contiguous() const { return !part && PyArray_IS_C_CONTIGUOUS(object); }
    std::int64_t size() const {
        if (!part) return PyArray_SIZE(object);
        std::int64_t size = 1;
        for (int i = 0; i < ndim(); ++i) size *= part->shape[i];
        return size;
    }
    operator View() const { return {data(), element, ndim(), shape(), strides(), is_c_contiguous()}; }
};
static_assert(std::is_same_v<npy_intp, std::ptrdiff_t> && NPY_MAXDIMS <= max_axes);

// The array of a slot where it is one.
std::optional<Array> as_array(PyObject* slot);

// The number of the type that statistics and parameter gradients have.
inline int compute_type_number(Element element) {
    return element == Element::float64 ? NPY_DOUBLE : NPY_FLOAT;
}

bool same_shape(const Array& a, const Array& b);

// An axis or a tuple of axes, ascending.
bool as_axes(PyObject* slot, int ndim, Axes& axes);
// One axis.
bool as_axis(PyObject* slot, int ndim, Axes& axes);

// A finite float of at least `minimum`; a bool; None or a float in (0, 1] (1 for None).
std::optional<double> as_number(PyObject* slot, double minimum);
std::optional<bool> as_flag(PyObject* slot);
std::optional<double> as_fraction(PyObject* slot);

// Half 0 or 1 of an array whose length along the axis is even; `part` must live as long as what is returned.
Array half_of(const Array& whole, int axis, int half, Part& part);

// Whether two arrays lie apart in memory, judged by their first and last bytes.
bool are_apart(const Array& a, const Array& b);

// Whether `out` can take a result like x: same type and shape, writeable, and either exactly one of the
// inputs or apart from all (where `checked`, the latter has been established).
bool is_valid_out(const Array& out, const Array& x, std::initializer_list<PyObject*> inputs, bool checked);

// The same for a result of x's type and another shape.
bool is_valid_out(
    const Array& out, const Array& x, int ndim, const npy_intp* shape,
    std::initializer_list<PyObject*> inputs, bool checked
);

}  // namespace fastnorm
