// From the arguments of a call to values: what is taken straight away.
//
// The rules for arguments are stated once, in the Python package fastnorm._arguments. The functions here only
// recognise arguments that need no rule: exact ndarrays of a supported type, Python ints, floats and bools of
// valid value. They answer "not canonical" for anything else, set no error, and the op then asks
// fastnorm._arguments, which raises the error or returns canonical arguments. What memory safety needs
// (types, shapes, writeability) is checked here every time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
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

// An exact ndarray of one of the four types in native byte order, or a part of one. Wherever the GIL is
// released, another thread may give an array another shape or type, and so free what describes it. So a call
// plans while it holds the GIL, and what runs without it goes by the plan. Copies of arguments are made
// before that, and may release it: they come first, and fix x, with which all others are compared.
class Array {
public:
    Array() {}  // not "= default", by which Array() would clear all axes
    // The type has the size of the array's.
    explicit Array(PyArrayObject* array, Element type = Element::float32) { set(array, type); }
    void set(PyArrayObject* array, Element type) {
        object = array;
        element = type;
        data_ = PyArray_BYTES(array);
        shape_ = PyArray_DIMS(array);
        strides_ = PyArray_STRIDES(array);
        ndim_ = PyArray_NDIM(array);
        contiguous_ = PyArray_IS_C_CONTIGUOUS(array);
    }
    // The weight in a PackedWeight, which counts as an array here: products read it by its panels.
    void set_panels(PyObject* packed, void* panels, Element type, const npy_intp* shape);
    Array(const Array& other) { *this = other; }
    Array& operator=(const Array& other);

    PyArrayObject* object = nullptr;
    Element element = Element::float32;

    int ndim() const { return ndim_; }
    const npy_intp* shape() const { return shape_; }
    const npy_intp* strides() const { return strides_; }
    char* data() const { return data_; }
    bool is_c_contiguous() const { return contiguous_; }
    bool in_panels() const { return in_panels_; }
    std::int64_t size() const { return View(*this).size(); }
    // Contiguous, at an address that is a multiple of the element's size.
    bool is_plain() const {
        return contiguous_ && are_multiples(reinterpret_cast<std::uintptr_t>(data_), item_size(element));
    }
    operator View() const& { return {data_, element, ndim_, shape_, strides_, contiguous_, in_panels_}; }
    operator View() && = delete;  // it would point to what is gone

    // Makes shape and strides its own.
    void fix();

    // Half 0 or 1 along an axis of even length: the strides of the whole.
    Array half(int axis, int number) const;

private:
    char* data_ = nullptr;
    const npy_intp *shape_ = nullptr, *strides_ = nullptr;
    int ndim_ = 0;
    bool contiguous_ = false, in_panels_ = false;
    npy_intp own_[2 * NPY_MAXDIMS];  // shape, then strides
};
static_assert(std::is_same_v<npy_intp, std::ptrdiff_t> && NPY_MAXDIMS <= max_axes);

// An array, or none; as std::optional, which compilers clear as a whole, with all the axes there could be.
class MaybeArray {
public:
    MaybeArray() {}
    MaybeArray(const Array& array) : array_(array) {}

    explicit operator bool() const { return array_.object != nullptr; }
    Array& operator*() { return array_; }
    const Array& operator*() const { return array_; }
    Array* operator->() { return &array_; }
    const Array* operator->() const { return &array_; }
    void set(PyArrayObject* object, Element element) { array_.set(object, element); }
    operator std::optional<Array>() const { return *this ? std::optional<Array>(array_) : std::nullopt; }

private:
    Array array_;
};

// The array of a slot where it is one, of no more elements than this, lengths of 0 counted as 1.
constexpr std::int64_t most_elements = std::int64_t(1) << 48;
MaybeArray as_array(PyObject* slot);

// The number of the type that statistics and parameter gradients have.
inline int compute_type_number(Element element) {
    return element == Element::float64 ? NPY_DOUBLE : NPY_FLOAT;
}

// The number and the dtype (a new reference) of an element type, of which an array has been seen.
int type_number_of(Element element);
PyArray_Descr* descr_of(Element element);

bool same_shape(const Array& a, const Array& b);

// An axis or a tuple of axes, ascending; an empty one for an array without axes.
bool as_axes(PyObject* slot, int ndim, Axes& axes);
// One axis.
bool as_axis(PyObject* slot, int ndim, Axes& axes);

// A finite float of at least `minimum`; a bool; None or a float in (0, 1] (1 for None); an int of 64 bits
// without a sign.
std::optional<double> as_number(PyObject* slot, double minimum);
// Whether a number is finite in the type that elements are computed in too.
inline bool fits_compute(double number, Element element) {
    return element == Element::float64 || std::fabs(number) <= double(std::numeric_limits<float>::max());
}
std::optional<bool> as_flag(PyObject* slot);
std::optional<double> as_fraction(PyObject* slot);
std::optional<std::uint64_t> as_seed(PyObject* slot);

}  // namespace fastnorm
