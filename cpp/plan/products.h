// Dense layers: arrays as matrices, and products over threads.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/linear.h"

namespace fastnorm {

// An array as the matrix of its last axis (the columns) and all others (the rows), for kernels of an element
// type.
class MatrixView {
public:
    MatrixView(const View& array, Element element);
    MatrixView(const MatrixView&) = delete;
    MatrixView& operator=(const MatrixView&) = delete;

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

// z = x weight + bias, with the activation and the finish that the caller sets. The bias, of the compute
// type, may be null.
Product layer_product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& z);

// What a product takes one thread.
double product_nanoseconds(const Product& task, Element element);

// Runs a product whose operands and finish are set. False where there is no memory for scratch; so for the
// others.
bool run_product(Product task, Element element) noexcept;

// The gradients of a layer from dz, the one at z = x weight + bias: dweight = x' dz, and dbias, contiguous,
// the sum of dz over the rows, where it is not null.
bool run_weight_gradients(
    const Matrix& x, const Matrix& dz, Element element, const Matrix& dweight, void* dbias
) noexcept;

// The sums of a matrix's columns over its rows, contiguous, of the compute type; `totals` are those of rows
// before, to which these are added, or null.
bool run_column_sums(const Matrix& matrix, Element element, void* sums, double* totals) noexcept;

}  // namespace fastnorm
