#include "bindings/network.h"

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a multiply-add in float32, packing and activations included; float64 takes twice as
// long.
constexpr double multiply_nanoseconds = 0.02;

bool is_sequence(PyObject* slot) { return PyTuple_CheckExact(slot) || PyList_CheckExact(slot); }

}  // namespace

std::optional<RowMatrix> as_rows(const Array& array, Reference& copy) {
    const int ndim = array.ndim();
    RowMatrix matrix;
    matrix.cols = array.shape()[ndim - 1];
    matrix.rows = 1;
    for (int i = 0; i + 1 < ndim; ++i) matrix.rows *= array.shape()[i];
    PyArrayObject* object = array.object;
    if (ndim > 2 && !PyArray_IS_C_CONTIGUOUS(object)) {
        PyArray_Descr* descr = PyArray_DESCR(object);
        Py_INCREF(descr);
        copy = Reference(PyArray_FromArray(object, descr, NPY_ARRAY_CARRAY_RO));
        if (!copy) return std::nullopt;
        object = copy.array();
    }
    matrix.data = PyArray_BYTES(object);
    matrix.col_stride = PyArray_STRIDES(object)[ndim - 1];
    matrix.row_stride = ndim == 1 ? 0 : PyArray_STRIDES(object)[ndim - 2];
    if (PyArray_IS_C_CONTIGUOUS(object)) {
        matrix.col_stride = item_size(array.element);
        matrix.row_stride = matrix.cols * matrix.col_stride;
    }
    return matrix;
}

bool Network::recognise(
    const Array& x, PyObject* weights, PyObject* biases, PyObject* activation, PyObject* output_activation
) {
    const std::optional<Activation> hidden = as_activation(activation),
                                    output = as_activation(output_activation);
    if (!hidden || !output || !is_sequence(weights) || x.ndim() < 1) return false;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(weights);
    has_biases_ = biases != Py_None;
    if (count < 1 || (has_biases_ && (!is_sequence(biases) || PySequence_Fast_GET_SIZE(biases) != count)))
        return false;
    element_ = x.element;
    size_ = item_size(compute_element(element_));
    layers_.resize(std::size_t(count));
    parameters_.reserve(2 * std::size_t(count));
    bias_of_.reserve(std::size_t(count));
    std::int64_t in = x.shape()[x.ndim() - 1];
    for (Py_ssize_t l = 0; l < count; ++l) {
        const std::optional<Array> weight = as_array(PySequence_Fast_GET_ITEM(weights, l));
        if (!weight || weight->ndim() != 2 || weight->shape()[0] != in || !is_parameter(*weight))
            return false;
        MlpLayer& layer = layers_[std::size_t(l)];
        layer = {};
        layer.in = in;
        layer.out = in = weight->shape()[1];
        layer.activation = l + 1 == count ? *output : *hidden;
        parameters_.push_back(*weight);
    }
    for (Py_ssize_t l = 0; has_biases_ && l < count; ++l) {
        PyObject* slot = PySequence_Fast_GET_ITEM(biases, l);
        bias_of_.push_back(-1);
        if (slot == Py_None) continue;
        const std::optional<Array> bias = as_array(slot);
        if (!bias || bias->ndim() != 1 || bias->shape()[0] != layers_[std::size_t(l)].out) return false;
        if (!is_parameter(*bias)) return false;
        bias_of_.back() = int(parameters_.size());
        parameters_.push_back(*bias);
    }
    return true;
}

bool Network::reserve(std::int64_t rows, bool backward, bool wants_dx, double steps) {
    backward_ = backward;
    std::int64_t elements = 0, work = 0;
    places_.reserve(layers_.size());
    gradient_at_.reserve(parameters_.size());
    task_.widest = mlp_step(layers_[0].in, size_);
    partial_elements_ = 0;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        MlpLayer& layer = layers_[l];
        const std::int64_t in = mlp_cols(layer.in, size_), out = mlp_cols(layer.out, size_);
        task_.widest = std::max(task_.widest, mlp_step(layer.out, size_));
        work += layer.in * layer.out * (backward ? 3 : 1);
        Place place;
        place.weight = elements;
        elements += layer.in * out;
        place.transposed = backward && (l > 0 || wants_dx) ? elements : -1;
        if (place.transposed >= 0) elements += layer.out * in;
        place.bias = elements;
        elements += out;
        places_.push_back(place);
        layer.dweight = partial_elements_;
        partial_elements_ += mlp_is_narrow(layer.in, layer.out, size_) ? layer.out * in : layer.in * out;
        layer.dbias = has_bias(l) ? partial_elements_ : -1;
        if (has_bias(l)) partial_elements_ += out;
    }
    std::int64_t gradient_elements = 0;
    for (const Array& parameter : parameters_) {
        gradient_at_.push_back(gradient_elements);
        gradient_elements += (parameter.size() + 15) / 16 * 16;
    }
    microseconds_ = multiply_nanoseconds * double(size_ / 4) * double(work) * double(rows) / 1000;
    const std::int64_t groups = group_count(rows);
    const std::int64_t units = backward ? groups : (rows + mlp_block_rows - 1) / mlp_block_rows;
    threads_ = int(std::max<std::int64_t>(
        1, std::min<std::int64_t>({worthwhile_threads(microseconds_ * steps), units, ScratchSlots::most})
    ));
    task_.layers = layers_.data();
    task_.count = std::int64_t(layers_.size());
    task_.rows = rows;
    slot_elements_ = (mlp_scratch_elements(task_, size_, backward) + 15) / 16 * 16;
    partials_at_ = elements;
    if (backward) elements += groups * partial_elements_;
    gradients_at_ = elements;
    if (backward) elements += gradient_elements;
    scratch_at_ = elements;
    elements += threads_ * slot_elements_;
    memory_.emplace(std::size_t(elements * size_ + groups * 8));
    if (!*memory_) return false;
    losses_ = reinterpret_cast<double*>(static_cast<char*>(memory_->data()) + elements * size_);
    return true;
}

void Network::pack() {
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        MlpLayer& layer = layers_[l];
        const Array& weight = parameters_[l];
        layer.weight = at(places_[l].weight);
        copy_matrix(weight, layer.in, layer.out, weight.strides()[0], weight.strides()[1], layer.weight);
        if (places_[l].transposed >= 0) {
            layer.transposed = at(places_[l].transposed);
            copy_matrix(
                weight, layer.out, layer.in, weight.strides()[1], weight.strides()[0], layer.transposed
            );
        }
        if (!has_bias(l)) continue;
        const Array& bias = parameters_[std::size_t(bias_of_[l])];
        layer.bias = at(places_[l].bias);
        copy_matrix(bias, 1, layer.out, 0, bias.strides()[0], layer.bias);
    }
}

void Network::run(std::int64_t rows) {
    task_.rows = rows;
    task_.group_rows = mlp_group_rows(rows);
    task_.partials = at(partials_at_);
    task_.partial_elements = partial_elements_;
    task_.losses = losses_;
    const auto kernel = (backward_ ? kernels().mlp_backward : kernels().mlp_forward)[int(element_)];
    const std::int64_t units = backward_ ? group_count(rows) : (rows + mlp_block_rows - 1) / mlp_block_rows;
    char* scratch = static_cast<char*>(at(scratch_at_));
    if (threads_ == 1 || units == 1) return kernel(task_, 0, units, scratch);
    ScratchSlots slots(scratch, std::size_t(slot_elements_ * size_));
    parallel_for(std::size_t(units), threads_, [&](std::size_t begin, std::size_t end) noexcept {
        const int slot = slots.take();
        kernel(task_, std::int64_t(begin), std::int64_t(end), slots.at(slot));
        slots.give_back(slot);
    });
}

void Network::merge(std::size_t i, double penalty, void* gradient) {
    const bool is_weight = i < layers_.size();
    std::size_t l = i;
    for (std::size_t k = 0; !is_weight && k < layers_.size(); ++k) {
        if (bias_of_[k] == int(i)) l = k;
    }
    const MlpLayer& layer = layers_[l];
    const Array& parameter = parameters_[i];
    MlpMerge task;
    task.groups = group_count(task_.rows);
    task.partial_elements = partial_elements_;
    task.partials = at(partials_at_ + (is_weight ? layer.dweight : layer.dbias));
    task.cols = layer.out;
    task.row_step = mlp_cols(layer.out, size_);
    task.col_step = 1;
    if (is_weight && mlp_is_narrow(layer.in, layer.out, size_)) {
        task.row_step = 1;
        task.col_step = mlp_cols(layer.in, size_);
    }
    task.penalty = is_weight ? penalty : 0;
    task.parameter = parameter.data();
    task.row_stride = is_weight ? parameter.strides()[0] : 0;
    task.col_stride = parameter.strides()[is_weight ? 1 : 0];
    task.gradient = gradient;
    kernels().mlp_merge[int(parameter.element)](task, 0, is_weight ? layer.in : 1, nullptr);
}

double Network::loss() const {
    double sum = 0;
    for (std::int64_t g = 0; g < group_count(task_.rows); ++g) sum += losses_[g];
    return sum;
}

double Network::squared_weights() const {
    double sum = 0;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const std::int64_t count = layers_[l].in * mlp_cols(layers_[l].out, size_);
        double lanes[4] = {};
        for (std::int64_t i = 0; i < count; ++i) {
            const double value = size_ == 8 ? static_cast<const double*>(layers_[l].weight)[i]
                                            : double(static_cast<const float*>(layers_[l].weight)[i]);
            lanes[i % 4] += value * value;
        }
        sum += lanes[0] + lanes[1] + lanes[2] + lanes[3];
    }
    return sum;
}

bool Network::is_parameter(const Array& array) const {
    return array.element == element_ || array.element == compute_element(element_);
}

void Network::copy_matrix(
    const Array& source, std::int64_t rows, std::int64_t cols, std::int64_t row_stride,
    std::int64_t col_stride, const void* panels
) const {
    const MlpPack task{rows, cols, source.data(), row_stride, col_stride, const_cast<void*>(panels)};
    kernels().mlp_pack[int(source.element)](task, 0, (rows + depth_block - 1) / depth_block, nullptr);
}

}  // namespace fastnorm
