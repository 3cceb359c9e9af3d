// What the bindings of dense layers share: arrays as matrices, activations by name, products over threads.
#pragma once

#include "bindings/arrays.h"
#include "tasks/linear.h"

namespace fastnorm {

// An array as the matrix of its last axis (the columns) and all others (the rows), for kernels of an element
// type.
class MatrixArray {
public:
    MatrixArray(const Array& array, Element element);
    MatrixArray(const MatrixArray&) = delete;
    MatrixArray& operator=(const MatrixArray&) = delete;

    const Matrix& matrix() const { return matrix_; }
    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const { return cols_; }

private:
    Matrix matrix_;
    std::int64_t rows_, cols_, stride_[2];
    Geometry geometry_;  // of more axes than two, where they are not contiguous
};

// Memory of one call as a contiguous matrix of the compute type.
class MatrixBuffer {
public:
    MatrixBuffer(std::int64_t rows, std::int64_t cols, Element element);

    const Matrix& matrix() const { return matrix_; }
    explicit operator bool() const { return bool(buffer_); }

private:
    Buffer buffer_;
    std::int64_t extent_[2], stride_[2];
    Matrix matrix_;
};

// None or the name of an activation; nothing for anything else.
std::optional<Activation> as_activation(PyObject* slot);

// None or the name of a gate: an activation, or swish in place of silu.
std::optional<Activation> as_gate(PyObject* slot);

// The shape of y: that of x with the last axis replaced.
struct ResultShape {
    npy_intp shape[NPY_MAXDIMS];

    ResultShape(const Array& x, npy_intp cols) {
        std::copy(x.shape(), x.shape() + x.ndim(), shape);
        shape[x.ndim() - 1] = cols;
    }
};

// A weight (in, out) of x's type or the compute type, for `depth` input features.
std::optional<Array> as_weight(PyObject* slot, const Array& x, npy_intp depth);

// One thread's time for a multiplication and an addition, at 100 GFLOP/s in float32.
constexpr double product_nanoseconds(Element element) { return element == Element::float64 ? 0.04 : 0.02; }

// Runs a product whose operands and finish are set. False with MemoryError set where there is no memory for
// scratch.
bool run_product(Product task, Element element);

// z = x weight + bias, with the activation and the finish that the caller sets.
Product layer_product(const Matrix& x, const Matrix& weight, const Parameter& bias, const Matrix& z);

// The gradients of a layer from dz, the one at z = x weight + bias: dx = dz weight', dweight = x' dz and
// dbias = the sum of dz over the rows. Each is left out where there is no array for it.
struct LayerGradients {
    Reference dx, dweight, dbias;
};
bool weight_gradients(const Matrix& x, const Matrix& dz, Element element, const LayerGradients& gradients);

}  // namespace fastnorm
