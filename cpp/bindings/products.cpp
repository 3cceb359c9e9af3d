#include "bindings/products.h"

#include "runtime/cpu.h"
#include "runtime/dispatch.h"

namespace fastnorm {

MatrixArray::MatrixArray(const Array& array, Element element) {
    const int last = array.ndim() - 1;
    const std::int64_t size = item_size(array.element);
    matrix_.data = array.data();
    matrix_.wide = array.element == compute_element(element);
    cols_ = array.shape()[last];
    if (array.ndim() <= 2 || array.is_c_contiguous()) {
        rows_ = 1;
        for (int i = 0; i < last; ++i) rows_ *= array.shape()[i];
        stride_[1] = array.strides()[last];
        stride_[0] = last == 1 ? array.strides()[0] : cols_ * size;
        matrix_.rows = {1, &rows_, stride_};
        matrix_.cols = {1, &cols_, stride_ + 1};
    } else {
        Axes axes;
        axes.count = 1;
        axes.axis[0] = last;
        geometry_.set_norm(&array, 1, axes);
        rows_ = geometry_.rows.rows;
        const Operand& operand = geometry_.operands[0];
        matrix_.rows = {geometry_.rows.outer_axes, geometry_.rows.outer_extent, operand.outer_stride};
        matrix_.cols = {geometry_.rows.inner_axes, geometry_.rows.inner_extent, operand.inner_stride};
    }
    std::uintptr_t misalignment = reinterpret_cast<std::uintptr_t>(array.data());
    for (int i = 0; i < array.ndim(); ++i) misalignment |= std::uintptr_t(array.strides()[i]);
    matrix_.aligned = misalignment % std::uintptr_t(size) == 0;
}

MatrixBuffer::MatrixBuffer(std::int64_t rows, std::int64_t cols, Element element)
    : buffer_(std::size_t(rows * cols * item_size(compute_element(element)))),
      extent_{rows, cols},
      stride_{cols * item_size(compute_element(element)), item_size(compute_element(element))} {
    matrix_ = {
        static_cast<char*>(buffer_.data()), {1, extent_, stride_}, {1, extent_ + 1, stride_ + 1}, true, true
    };
}

std::optional<Activation> as_activation(PyObject* slot) {
    if (slot == Py_None) return Activation::none;
    if (!PyUnicode_CheckExact(slot)) return std::nullopt;
    static const char* const names[] = {"relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"};
    for (int i = 0; i < 6; ++i) {
        if (PyUnicode_CompareWithASCIIString(slot, names[i]) == 0) return Activation(i + 1);
    }
    return std::nullopt;
}

std::optional<Activation> as_gate(PyObject* slot) {
    if (PyUnicode_CheckExact(slot) && PyUnicode_CompareWithASCIIString(slot, "swish") == 0)
        return Activation::swish;
    const std::optional<Activation> gate = as_activation(slot);
    return gate == Activation::silu ? std::nullopt : gate;
}

bool run_product(Product task, Element element) {
    if (task.rows == 0 || task.cols == 0) return true;
    const double nanoseconds =
        product_nanoseconds(element) * double(task.rows) * double(task.cols) * double(task.depth + 8);
    const std::int64_t compute_size = item_size(compute_element(element));
    divide(
        task, item_size(element), compute_size,
        nanoseconds < 5000 ? 1 : worthwhile_threads(nanoseconds / 1000), std::int64_t(cache_sizes().l2)
    );
    return run_kernel(
        kernels().matrix_product[int(element)], task, product_units(task), 1, nanoseconds,
        std::size_t(product_scratch(task, compute_size))
    );
}

std::optional<Array> as_weight(PyObject* slot, const Array& x, npy_intp depth) {
    const std::optional<Array> weight = as_array(slot);
    if (!weight || weight->ndim() != 2 || weight->shape()[0] != depth) return std::nullopt;
    if (weight->element != x.element && weight->element != compute_element(x.element)) return std::nullopt;
    return weight;
}

namespace {

std::int64_t length(const MatrixAxis& axis) {
    std::int64_t product = 1;
    for (int i = 0; i < axis.count; ++i) product *= axis.extent[i];
    return product;
}

}  // namespace

Product layer_product(const Matrix& x, const Matrix& weight, const Parameter& bias, const Matrix& z) {
    Product task = {};
    task.rows = length(x.rows), task.cols = length(weight.cols), task.depth = length(x.cols);
    task.a = x, task.b = weight, task.c = z;
    task.col_bias = bias.data();
    return task;
}

bool weight_gradients(const Matrix& x, const Matrix& dz, Element element, const LayerGradients& gradients) {
    const Element compute = compute_element(element);
    const MatrixArray dweight(Array{gradients.dweight.array(), compute}, element);
    if (!run_product(layer_product(transposed(x), dz, {}, dweight.matrix()), element)) return false;
    if (!gradients.dbias) return true;
    const std::int64_t rows = length(dz.rows), cols = length(dz.cols);
    const ColumnSums sums{rows, cols, dz, PyArray_DATA(gradients.dbias.array())};
    return run_kernel(
        kernels().column_sums[int(element)], sums, cols, column_sums_strip, 0.1 * double(rows * cols), 0
    );
}

}  // namespace fastnorm
