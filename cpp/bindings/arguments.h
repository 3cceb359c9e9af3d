// From the arguments of a call to values: what is taken straight away.
//
// The rules for arguments are stated once, in the Python package fastnorm._arguments. The functions here only
// recognise arguments that need no rule: exact ndarrays of a supported type, Python ints, floats and bools of
// valid value. They answer "not canonical" for anything else, set no error, and the op then asks
// fastnorm._arguments, which raises the error or returns canonical arguments. What memory safety needs
// (types, shapes, writeability) is checked here every time.
#pragma once

#include <algorithm>
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

// An exact ndarray of one of the four types in native byte order, or a part of one, as it was when the call
// looked at it. Wherever the GIL is released, also within NumPy's copies, another thread may give an array
// another shape or type and so free what describes it; all that follows goes by what was read here, of which
// views are made. The object keeps the memory.
class Array {
public:
    Array() = default;
    // The object has to be an array of elements of this size.
    explicit Array(PyArrayObject* array, Element type = Element::float32)
        : object(array),
          element(type),
          data_(PyArray_BYTES(array)),
          ndim_(PyArray_NDIM(array)),
          contiguous_(PyArray_IS_C_CONTIGUOUS(array)) {
        std::copy_n(PyArray_DIMS(array), ndim_, shape_);
        std::copy_n(PyArray_STRIDES(array), ndim_, strides_);
    }
    // Of the axes only those there are: the others hold nothing.
    Array(const Array& other) { *this = other; }
    Array& operator=(const Array& other) {
        if (this == &other) return *this;
        object = other.object, element = other.element;
        data_ = other.data_, ndim_ = other.ndim_, contiguous_ = other.contiguous_;
        std::copy_n(other.shape_, ndim_, shape_);
        std::copy_n(other.strides_, ndim_, strides_);
        return *this;
    }

    PyArrayObject* object = nullptr;
    Element element = Element::float32;

    int ndim() const { return ndim_; }
    const npy_intp* shape() const { return shape_; }
    const npy_intp* strides() const { return strides_; }
    char* data() const { return data_; }
    bool is_c_contiguous() const { return contiguous_; }
    std::int64_t size() const {
        std::int64_t size = 1;
        for (int i = 0; i < ndim_; ++i) size *= shape_[i];
        return size;
    }
    // Contiguous, at an address that is a multiple of the element's size.
    bool is_plain() const {
        return contiguous_ && are_multiples(reinterpret_cast<std::uintptr_t>(data_), item_size(element));
    }
    operator View() const& { return {data_, element, ndim_, shape_, strides_, contiguous_}; }
    operator View() && = delete;  // it would point to what is gone

    // Half 0 or 1 along an axis of even length: the strides of the whole.
    Array half(int axis, int number) const {
        Array part = *this;
        part.shape_[axis] /= 2;
        part.data_ += number * part.shape_[axis] * strides_[axis];
        part.contiguous_ = false;
        return part;
    }

private:
    char* data_ = nullptr;
    int ndim_ = 0;
    bool contiguous_ = false;
    npy_intp shape_[NPY_MAXDIMS], strides_[NPY_MAXDIMS];
};
static_assert(std::is_same_v<npy_intp, std::ptrdiff_t> && NPY_MAXDIMS <= max_axes);

// The array of a slot where it is one.
std::optional<Array> as_array(PyObject* slot);

// The number of the type that statistics and parameter gradients have.
inline int compute_type_number(Element element) {
    return element == Element::float64 ? NPY_DOUBLE : NPY_FLOAT;
}

// The number of an element type, of which an array has been seen.
int type_number_of(Element element);

bool same_shape(const Array& a, const Array& b);

// An axis or a tuple of axes, ascending.
bool as_axes(PyObject* slot, int ndim, Axes& axes);
// One axis.
bool as_axis(PyObject* slot, int ndim, Axes& axes);

// A finite float of at least `minimum`; a bool; None or a float in (0, 1] (1 for None).
std::optional<double> as_number(PyObject* slot, double minimum);
std::optional<bool> as_flag(PyObject* slot);
std::optional<double> as_fraction(PyObject* slot);

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
