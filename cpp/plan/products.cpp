#include "plan/products.h"

#include <algorithm>
#include <cmath>

#include "runtime/cpu.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a multiplication and an addition, at 100 GFLOP/s in float32.
constexpr double multiply_nanoseconds(Element element) { return element == Element::float64 ? 0.04 : 0.02; }

// One thread's time to read a byte of B, which few rows wait for: 65 GB/s from the third-level cache, Zen 4.
// Halves take as long as the floats they are widened to.
constexpr double read_nanoseconds = 0.015;

// Shorter products are not divided among threads.
constexpr double brief_nanoseconds = 5000;

// What a unit of a long product takes at most.
constexpr double unit_nanoseconds = 1.5e8;

constexpr double column_sum_nanoseconds = 0.1;  // for an element

std::int64_t length(const MatrixAxis& axis) {
    std::int64_t product = 1;
    for (int i = 0; i < axis.count; ++i) product *= axis.extent[i];
    return product;
}

}  // namespace

MatrixView::MatrixView(const View& array, Element element) {
    const int last = array.ndim - 1;
    const std::int64_t size = item_size(array.element);
    matrix_.data = array.data;
    matrix_.wide = array.in_panels || array.element == compute_element(element);
    matrix_.in_panels = array.in_panels;
    cols_ = array.shape[last];
    if (array.ndim <= 2 || array.contiguous) {
        rows_ = 1;
        for (int i = 0; i < last; ++i) rows_ *= array.shape[i];
        stride_[1] = array.strides[last];
        stride_[0] = last == 1 ? array.strides[0] : cols_ * size;
        matrix_.rows = {1, &rows_, stride_};
        matrix_.cols = {1, &cols_, stride_ + 1};
    } else {
        Axes axes;
        axes.count = 1;
        axes.axis[0] = last;
        const View* const view = &array;
        geometry_.set_norm(&view, 1, axes);
        rows_ = geometry_.rows.rows;
        const Operand& operand = geometry_.operands[0];
        matrix_.rows = {geometry_.rows.outer_axes, geometry_.rows.outer_extent, operand.outer_stride};
        matrix_.cols = {geometry_.rows.inner_axes, geometry_.rows.inner_extent, operand.inner_stride};
    }
    std::uintptr_t places = reinterpret_cast<std::uintptr_t>(array.data);
    for (int i = 0; i < array.ndim; ++i) places |= std::uintptr_t(array.strides[i]);
    matrix_.aligned = are_multiples(places, size);
}

MatrixBuffer::MatrixBuffer(std::int64_t rows, std::int64_t cols, Element element)
    : buffer_(std::size_t(rows * cols * item_size(compute_element(element)))),
      extent_{rows, cols},
      stride_{cols * item_size(compute_element(element)), item_size(compute_element(element))} {
    matrix_ = {
        static_cast<char*>(buffer_.data()), {1, extent_, stride_}, {1, extent_ + 1, stride_ + 1}, true, true
    };
}

Product layer_product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& z) {
    Product task = {};
    task.rows = length(x.rows), task.cols = length(weight.cols), task.depth = length(x.cols);
    task.a = x, task.b = weight, task.c = z;
    task.col_bias = bias;
    return task;
}

double product_nanoseconds(const Product& task, Element element) {
    const double terms = double(task.cols) * double(task.depth + 8);
    const double read = read_nanoseconds * double(item_size(compute_element(element)));
    return (multiply_nanoseconds(element) * double(task.rows) + read) * terms;
}

// Units that are short enough, so that work that takes long can be stopped, of at least as many rows and
// columns as make up for copying the blocks of A and B again.
void shorten_units(Product& task, double nanoseconds) {
    constexpr double least_rows = 480;
    const double elements = double(task.rows) * double(task.cols);
    const double allowed = elements * unit_nanoseconds / nanoseconds;
    const double cols = std::max(std::sqrt(allowed) / double(task.packed_cols), 1.0);
    task.col_block = std::min(task.col_block, std::int64_t(cols) * task.packed_cols);
    const double rows = std::max(allowed / double(task.col_block), least_rows);
    task.row_block = std::min(task.row_block, std::int64_t(rows) / 6 * 6);
}

bool run_product(Product task, Element element) noexcept {
    if (task.rows == 0 || task.cols == 0) return true;
    const double nanoseconds = product_nanoseconds(task, element);
    const std::int64_t compute_size = item_size(compute_element(element));
    const int threads = nanoseconds < brief_nanoseconds ? 1 : worthwhile_threads(nanoseconds / 1000);
    divide(task, item_size(element), compute_size, threads, std::int64_t(cache_sizes().l2));
    if (nanoseconds > long_nanoseconds) shorten_units(task, nanoseconds);
    return run(
        kernels().matrix_product[int(element)], task,
        {product_units(task), 1, nanoseconds, product_scratch(task, compute_size)}
    );
}

bool run_weight_gradients(
    const Matrix& x, const Matrix& dz, Element element, const Matrix& dweight, void* dbias
) noexcept {
    return run_product(layer_product(transposed(x), dz, nullptr, dweight), element) &&
           (!dbias || run_column_sums(dz, element, dbias, nullptr));
}

bool run_column_sums(const Matrix& matrix, Element element, void* result, double* totals) noexcept {
    const ColumnSums sums{length(matrix.rows), length(matrix.cols), matrix, result, totals};
    return run(
        kernels().column_sums[int(element)], sums,
        {sums.cols, column_sums_strip, column_sum_nanoseconds * double(sums.rows * sums.cols), 0}
    );
}

}  // namespace fastnorm
