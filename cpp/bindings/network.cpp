#include "bindings/network.h"

namespace fastnorm {

namespace {

bool is_parameter_of(const Array& array, const Array& x) {
    return array.element == x.element || array.element == compute_element(x.element);
}

}  // namespace

std::optional<RowMatrix> as_rows(Array& array, Reference& copy) {
    const int ndim = array.ndim();
    RowMatrix matrix;
    matrix.cols = array.shape()[ndim - 1];
    matrix.rows = 1;
    for (int i = 0; i + 1 < ndim; ++i) matrix.rows *= array.shape()[i];
    matrix.data = array.data();
    if (ndim > 2 && !array.is_c_contiguous()) {
        copy = new_copy(array);
        if (!copy) return std::nullopt;
        matrix.data = PyArray_BYTES(copy.array());
    }
    matrix.col_stride = array.strides()[ndim - 1];
    matrix.row_stride = ndim == 1 ? 0 : array.strides()[ndim - 2];
    if (copy || array.is_c_contiguous()) {
        matrix.col_stride = item_size(array.element);
        matrix.row_stride = matrix.cols * matrix.col_stride;
    }
    return matrix;
}

bool as_network(
    const Array& x, PyObject* weights, PyObject* biases, PyObject* activation, PyObject* output_activation,
    Packed packed, Network& network
) {
    const std::optional<Activation> hidden = as_activation(activation),
                                    output = as_activation(output_activation);
    if (!hidden || !output || !PyTuple_CheckExact(weights) || x.ndim() < 1) return false;
    const Py_ssize_t count = PyTuple_GET_SIZE(weights);
    const bool has_biases = biases != Py_None;
    if (count < 1 || (has_biases && (!PyTuple_CheckExact(biases) || PyTuple_GET_SIZE(biases) != count)))
        return false;
    network.start(x.element, has_biases, std::size_t(count));
    npy_intp in = x.shape()[x.ndim() - 1];
    for (Py_ssize_t l = 0; l < count; ++l) {
        const MaybeArray weight = as_weight(PyTuple_GET_ITEM(weights, l), x, in, packed);
        if (!weight) return false;
        in = weight->shape()[1];
        network.add_layer(*weight, l + 1 == count ? *output : *hidden);
    }
    for (Py_ssize_t l = 0; has_biases && l < count; ++l) {
        PyObject* slot = PyTuple_GET_ITEM(biases, l);
        if (slot == Py_None) continue;
        const MaybeArray bias = as_array(slot);
        if (!bias || bias->ndim() != 1 || !is_parameter_of(*bias, x)) return false;
        if (bias->shape()[0] != network.layers()[std::size_t(l)].out) return false;
        network.add_bias(std::size_t(l), *bias);
    }
    return true;
}

}  // namespace fastnorm
