#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "bindings/mlp_losses.h"
#include "bindings/module.h"
#include "bindings/optim.h"
#include "bindings/products.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a multiply-add in float32, packing and activations included; float64 takes twice as long.
constexpr double multiply_nanoseconds = 0.02;
constexpr auto signal_interval = std::chrono::milliseconds(50);  // how long Ctrl-C may wait, beside one step

bool is_sequence(PyObject* slot) { return PyTuple_CheckExact(slot) || PyList_CheckExact(slot); }

// A matrix of rows in memory.
struct RowMatrix {
    const char* data;
    std::int64_t rows, cols, row_stride, col_stride;
};

// An array seen as (rows, last axis), copied where no two strides describe it.
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

// A new contiguous array of x's type: x's shape with another last axis.
Reference new_output(const Array& x, npy_intp cols) {
    npy_intp shape[NPY_MAXDIMS];
    std::memcpy(shape, x.shape(), sizeof(npy_intp) * std::size_t(x.ndim()));
    shape[x.ndim() - 1] = cols;
    PyArray_Descr* descr = PyArray_DESCR(x.object);
    Py_INCREF(descr);
    return Reference(PyArray_NewFromDescr(&PyArray_Type, descr, x.ndim(), shape, nullptr, nullptr, 0, nullptr));
}

// The layers, and one block of memory for all that a call needs beside its arguments and results.
class Network {
public:
    // False where the arguments are not canonical.
    bool recognise(
        const Array& x, PyObject* weights, PyObject* biases, PyObject* activation, PyObject* output_activation
    ) {
        const std::optional<Activation> hidden = as_activation(activation), output = as_activation(output_activation);
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
            if (!weight || weight->ndim() != 2 || weight->shape()[0] != in || !is_parameter(*weight)) return false;
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

    // Takes the memory for batches of `rows`, on as many threads as they are worth. False with no error set where there
    // is none.
    bool reserve(std::int64_t rows, bool backward, bool wants_dx, double steps = 1) {
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

    // Copies the parameters, as they are now, to where the kernels read them.
    void pack() {
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            MlpLayer& layer = layers_[l];
            const Array& weight = parameters_[l];
            layer.weight = at(places_[l].weight);
            copy_matrix(weight, layer.in, layer.out, weight.strides()[0], weight.strides()[1], layer.weight);
            if (places_[l].transposed >= 0) {
                layer.transposed = at(places_[l].transposed);
                copy_matrix(weight, layer.out, layer.in, weight.strides()[1], weight.strides()[0], layer.transposed);
            }
            if (!has_bias(l)) continue;
            const Array& bias = parameters_[std::size_t(bias_of_[l])];
            layer.bias = at(places_[l].bias);
            copy_matrix(bias, 1, layer.out, 0, bias.strides()[0], layer.bias);
        }
    }

    // Rows through the network; the caller has set x and what is wanted in task().
    void run(std::int64_t rows) {
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

    // The gradient of a parameter from the last run, contiguous at `gradient`.
    void merge(std::size_t i, double penalty, void* gradient) {
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

    double loss() const {
        double sum = 0;
        for (std::int64_t g = 0; g < group_count(task_.rows); ++g) sum += losses_[g];
        return sum;
    }

    // Sum of the squared weights, as they were packed.
    double squared_weights() const {
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

    MlpRows& task() { return task_; }
    void take_x(const RowMatrix& x) {
        task_.x = x.data;
        task_.x_row_stride = x.row_stride;
        task_.x_col_stride = x.col_stride;
    }
    double microseconds() const { return microseconds_; }
    std::int64_t outputs() const { return layers_.back().out; }
    std::size_t layer_count() const { return layers_.size(); }
    bool has_biases() const { return has_biases_; }
    bool has_bias(std::size_t l) const { return has_biases_ && bias_of_[l] >= 0; }
    std::size_t bias_index(std::size_t l) const { return std::size_t(bias_of_[l]); }
    const std::vector<Array>& parameters() const { return parameters_; }
    void* gradient(std::size_t i) { return at(gradients_at_ + gradient_at_[i]); }
    Element element() const { return element_; }

private:
    bool is_parameter(const Array& array) const {
        return array.element == element_ || array.element == compute_element(element_);
    }
    static std::int64_t group_count(std::int64_t rows) {
        const std::int64_t in_group = mlp_group_rows(rows);
        return (rows + in_group - 1) / in_group;
    }
    void* at(std::int64_t element) const { return static_cast<char*>(memory_->data()) + element * size_; }
    void copy_matrix(
        const Array& source, std::int64_t rows, std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride,
        const void* panels
    ) const {
        const MlpPack task{rows, cols, source.data(), row_stride, col_stride, const_cast<void*>(panels)};
        kernels().mlp_pack[int(source.element)](task, 0, (rows + depth_block - 1) / depth_block, nullptr);
    }

    Element element_ = Element::float32;
    std::int64_t size_ = 4;
    bool has_biases_ = false, backward_ = false;
    std::vector<MlpLayer> layers_;
    std::vector<Array> parameters_;  // the weights, then the biases there are
    std::vector<int> bias_of_;       // by layer: its bias among the parameters, or -1
    struct Place {
        std::int64_t weight, transposed, bias;  // transposed: -1 where it is not needed
    };
    std::vector<Place> places_;  // by layer, in memory_
    std::vector<std::int64_t> gradient_at_;
    std::int64_t partial_elements_ = 0, slot_elements_ = 0, partials_at_ = 0, gradients_at_ = 0, scratch_at_ = 0;
    int threads_ = 1;
    double microseconds_ = 0;
    double* losses_ = nullptr;
    MlpRows task_ = {};
    std::optional<Buffer> memory_;
};

// New arrays for the gradients of all parameters, merged: two lists, the second None where there are no biases.
bool gradient_lists(Network& network, double penalty, Reference& dweights, Reference& dbiases) {
    const std::size_t count = network.layer_count();
    dweights = Reference(PyList_New(Py_ssize_t(count)));
    Py_INCREF(Py_None);
    dbiases = Reference(network.has_biases() ? PyList_New(Py_ssize_t(count)) : Py_None);
    if (network.has_biases()) Py_DECREF(Py_None);
    if (!dweights || !dbiases) return false;
    const auto gradient = [&](std::size_t i) -> PyObject* {
        const Array& parameter = network.parameters()[i];
        Reference array = new_array(parameter.ndim(), parameter.shape(), compute_type_number(network.element()));
        if (array) network.merge(i, penalty, PyArray_DATA(array.array()));
        return array.release();
    };
    for (std::size_t l = 0; l < count; ++l) {
        PyObject* dweight = gradient(l);
        if (!dweight) return false;
        PyList_SET_ITEM(dweights.get(), Py_ssize_t(l), dweight);
        if (!network.has_biases()) continue;
        Py_INCREF(Py_None);
        PyObject* dbias = Py_None;
        if (network.has_bias(l)) {
            Py_DECREF(Py_None);
            dbias = gradient(network.bias_index(l));
        }
        if (!dbias) return false;
        PyList_SET_ITEM(dbiases.get(), Py_ssize_t(l), dbias);
    }
    return true;
}

Outcome run_forward(const Call& call) {
    const std::optional<Array> x = as_array(call[0]);
    Network network;
    if (!x || !network.recognise(*x, call[1], call[2], call[3], call[4])) return not_canonical;
    Reference copy;
    const std::optional<RowMatrix> rows = as_rows(*x, copy);
    Reference y = new_output(*x, npy_intp(network.outputs()));
    if (!rows || !y) return finished(nullptr);
    if (rows->rows > 0 && network.outputs() > 0) {
        if (!network.reserve(rows->rows, false, false)) return finished(PyErr_NoMemory());
        const ReleasedGil released(network.microseconds() > gil_microseconds);
        network.pack();
        network.take_x(*rows);
        network.task().y = PyArray_DATA(y.array());
        network.run(rows->rows);
    }
    return finished(y.release());
}

Outcome run_backward(const Call& call) {
    const std::optional<Array> dy = as_array(call[0]), x = as_array(call[1]);
    Network network;
    if (!x || !dy || dy->element != x->element) return not_canonical;
    if (!network.recognise(*x, call[2], call[3], call[4], call[5])) return not_canonical;
    if (dy->ndim() != x->ndim() || dy->shape()[x->ndim() - 1] != network.outputs()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), x->shape(), x->ndim() - 1)) return not_canonical;
    Reference copy, dy_copy;
    const std::optional<RowMatrix> rows = as_rows(*x, copy), slopes = as_rows(*dy, dy_copy);
    Reference dx = new_output(*x, x->shape()[x->ndim() - 1]);
    if (!rows || !slopes || !dx) return finished(nullptr);
    if (!network.reserve(std::max<std::int64_t>(rows->rows, 1), true, true)) return finished(PyErr_NoMemory());
    {
        const ReleasedGil released(network.microseconds() > gil_microseconds);
        network.pack();
        network.take_x(*rows);
        network.task().dy = slopes->data;
        network.task().dy_row_stride = slopes->row_stride;
        network.task().dy_col_stride = slopes->col_stride;
        network.task().dx = PyArray_DATA(dx.array());
        if (rows->rows > 0) network.run(rows->rows);
    }
    Reference dweights, dbiases;
    if (!gradient_lists(network, 0, dweights, dbiases)) return finished(nullptr);
    if (rows->rows == 0) {
        for (PyObject* list : {dweights.get(), dbiases.get()}) {
            for (Py_ssize_t i = 0; list != Py_None && i < PyList_GET_SIZE(list); ++i) {
                PyObject* entry = PyList_GET_ITEM(list, i);
                PyArrayObject* array = reinterpret_cast<PyArrayObject*>(entry);
                if (entry != Py_None) std::memset(PyArray_DATA(array), 0, std::size_t(PyArray_NBYTES(array)));
            }
        }
    }
    return finished(PyTuple_Pack(3, dx.get(), dweights.get(), dbiases.get()));
}

// ---- training ------------------------------------------------------------------------------------------------------

std::optional<LossKind> as_loss(PyObject* slot, double& option) {
    PyObject* name = slot;
    std::optional<double> given;
    if (PyTuple_CheckExact(slot) && PyTuple_GET_SIZE(slot) == 2) {
        name = PyTuple_GET_ITEM(slot, 0);
        given = as_number(PyTuple_GET_ITEM(slot, 1), -HUGE_VAL);
        if (!given) return std::nullopt;
    }
    if (!PyUnicode_CheckExact(name)) return std::nullopt;
    struct Named {
        const char* name;
        LossKind kind;
        double option;
    };
    constexpr Named names[] = {
        {"mse", LossKind::mse, 0},
        {"cross_entropy", LossKind::cross_entropy, 0},
        {"poly", LossKind::poly, 1},
        {"focal", LossKind::focal, 2},
        {"squared_error", LossKind::squared_error, 0},
        {"poisson", LossKind::poisson, 0},
        {"binary_cross_entropy", LossKind::binary_cross_entropy, 0},
        {"binary_poly", LossKind::binary_poly, 1},
        {"binary_focal", LossKind::binary_focal, 2},
    };
    for (const Named& candidate : names) {
        if (PyUnicode_CompareWithASCIIString(name, candidate.name) != 0) continue;
        option = given.value_or(candidate.option);
        return candidate.kind;
    }
    return std::nullopt;
}

// What mlp_gradients and mlp_train share: the arguments before the optimiser's.
struct Lesson {
    Network network;
    RowMatrix x;
    LossContext loss;
    double penalty = 0;
    Reference x_copy, target_copy;

    // False where the arguments are not canonical, or `failed` with an error set.
    bool recognise(const Call& call, bool& failed) {
        const std::optional<Array> array = as_array(call[0]);
        if (!array || array->ndim() != 2 || array->shape()[0] < 1) return false;
        if (!network.recognise(*array, call[3], call[4], call[5], call[6])) return false;
        const std::optional<LossKind> kind = as_loss(call[7], loss.option);
        const std::optional<double> number = as_number(call[8], 0);
        if (!kind || !number) return false;
        loss.kind = *kind;
        loss.outputs = network.outputs();
        penalty = *number;
        const std::optional<RowMatrix> rows = as_rows(*array, x_copy);
        x = *rows;  // two axes are never copied
        if (!as_target(call[1], *array, failed)) return false;
        if (call[2] == Py_None) return true;
        const std::optional<Array> weight = as_array(call[2]);
        if (!weight || weight->element != Element::float64 || weight->ndim() != 1) return false;
        if (weight->shape()[0] != x.rows || !PyArray_ISCARRAY_RO(weight->object)) return false;
        loss.sample_weight = reinterpret_cast<const double*>(weight->data());
        return true;
    }

    // Rows [start, start + count) of the order, or of x: forward, loss and backward. Returns the loss with its penalty.
    double run(const std::int64_t* order, std::int64_t start, std::int64_t count) {
        RowMatrix batch = x;
        if (!order) batch.data += start * x.row_stride;
        network.take_x(batch);
        network.task().order = loss.order = order ? order + start : nullptr;
        loss.start = order ? 0 : start;
        double total = double(count);
        if (loss.sample_weight) {
            total = 0;
            for (std::int64_t i = start; i < start + count; ++i) total += loss.sample_weight[order ? order[i] : i];
        }
        loss.scale = 1 / total;
        network.task().loss = loss_function(compute_element(network.element()));
        network.task().context = &loss;
        network.pack();
        network.run(count);
        const double data_loss = network.loss();
        return penalty == 0 ? data_loss : data_loss + 0.5 * penalty * loss.scale * network.squared_weights();
    }

private:
    bool as_target(PyObject* slot, const Array& input, bool& failed) {
        if (!PyArray_CheckExact(slot)) return false;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(slot);
        if (is_over_classes(loss.kind) && PyArray_TYPE(array) == NPY_INT64) {
            if (PyArray_NDIM(array) != 1 || PyArray_DIM(array, 0) != x.rows || !PyArray_ISCARRAY_RO(array))
                return false;
            loss.classes = static_cast<const std::int64_t*>(PyArray_DATA(array));
            for (std::int64_t i = 0; i < x.rows; ++i) {
                if (loss.classes[i] < 0 || loss.classes[i] >= loss.outputs) return false;
            }
            return true;
        }
        const std::optional<Array> numbers = as_array(slot);
        if (!numbers || numbers->element != input.element || numbers->ndim() != 2 || loss.kind == LossKind::focal)
            return false;
        if (numbers->shape()[0] != x.rows || numbers->shape()[1] != loss.outputs) return false;
        PyArrayObject* target = array;
        loss.element = compute_element(input.element);
        if (loss.element != input.element) {
            PyArray_Descr* descr = PyArray_DescrFromType(compute_type_number(input.element));
            target_copy = Reference(PyArray_FromArray(array, descr, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST));
            failed = !target_copy;
            if (failed) return false;
            target = target_copy.array();
        }
        loss.target = PyArray_BYTES(target);
        loss.row_stride = PyArray_STRIDES(target)[0];
        loss.col_stride = PyArray_STRIDES(target)[1];
        return true;
    }
};

Outcome run_gradients(const Call& call) {
    Lesson lesson;
    bool failed = false;
    if (!lesson.recognise(call, failed)) return failed ? finished(nullptr) : not_canonical;
    if (!lesson.network.reserve(lesson.x.rows, true, false)) return finished(PyErr_NoMemory());
    double loss;
    {
        const ReleasedGil released(lesson.network.microseconds() > gil_microseconds);
        loss = lesson.run(nullptr, 0, lesson.x.rows);
    }
    Reference dweights, dbiases;
    if (!gradient_lists(lesson.network, lesson.penalty * lesson.loss.scale, dweights, dbiases))
        return finished(nullptr);
    const Reference value(PyFloat_FromDouble(loss));
    if (!value) return finished(nullptr);
    return finished(PyTuple_Pack(3, value.get(), dweights.get(), dbiases.get()));
}

Outcome run_train(const Call& call) {
    Lesson lesson;
    Network& network = lesson.network;
    bool failed = false;
    if (!lesson.recognise(call, failed)) return failed ? finished(nullptr) : not_canonical;
    const std::vector<Array>& parameters = network.parameters();
    for (const Array& parameter : parameters) {
        // Updated in place. MLP holds such arrays, and the twin takes others.
        if (!PyArray_ISCARRAY(parameter.object)) return not_canonical;
    }
    OptimizerRule rule;
    if (!as_rule(call[9], parameters.data(), Py_ssize_t(parameters.size()), rule)) return not_canonical;
    const std::int64_t* order = nullptr;
    std::int64_t count = lesson.x.rows;
    if (call[10] != Py_None) {
        if (!PyArray_CheckExact(call[10])) return not_canonical;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(call[10]);
        if (PyArray_TYPE(array) != NPY_INT64 || PyArray_NDIM(array) != 1 || !PyArray_ISCARRAY_RO(array))
            return not_canonical;
        order = static_cast<const std::int64_t*>(PyArray_DATA(array));
        count = PyArray_SIZE(array);
        for (std::int64_t i = 0; i < count; ++i) {
            if (order[i] < 0 || order[i] >= lesson.x.rows) return not_canonical;
        }
    }
    if (!PyLong_CheckExact(call[11])) return not_canonical;
    const long long given = PyLong_AsLongLong(call[11]);
    if (given < 0 || count < 1) return not_canonical;
    const std::int64_t batch = given == 0 || given > count ? count : given;
    if (!network.reserve(batch, true, false)) return finished(PyErr_NoMemory());

    double total = 0;
    std::int64_t start = 0;
    while (start < count) {
        {
            const bool brief = network.microseconds() * double(count) / double(batch) < gil_microseconds;
            const ReleasedGil released(!brief);
            const auto began = brief ? std::chrono::steady_clock::time_point{} : std::chrono::steady_clock::now();
            do {
                const std::int64_t rows = std::min(batch, count - start);
                total += lesson.run(order, start, rows) * double(rows);
                const std::int64_t step = rule.steps ? ++*rule.steps : 1;
                for (std::size_t i = 0; i < parameters.size(); ++i) {
                    network.merge(i, lesson.penalty * lesson.loss.scale, network.gradient(i));
                    const Py_ssize_t state = Py_ssize_t(i);
                    update_parameter(
                        rule, step, parameters[i].element, parameters[i].data(), parameters[i].size(),
                        network.gradient(i), true, rule.first_of(state), rule.second_of(state)
                    );
                }
                start += rows;
            } while (start < count && (brief || std::chrono::steady_clock::now() - began < signal_interval));
        }
        // Ctrl-C: the parameters are those of the last finished step.
        if (start < count && PyErr_CheckSignals() < 0) return finished(nullptr);
    }
    return finished(PyFloat_FromDouble(total / double(count)));
}

// ---- the Python functions ------------------------------------------------------------------------------------------

PyObject* mlp_forward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mlp_forward", 3,
        {{"x", nullptr},
         {"weights", nullptr},
         {"biases", nullptr},
         {"activation", PyUnicode_InternFromString("relu")},
         {"output_activation", Py_None}}
    );
    return call_op(signature, run_forward, args, nargs, kwnames);
}

PyObject* mlp_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mlp_backward", 4,
        {{"dy", nullptr},
         {"x", nullptr},
         {"weights", nullptr},
         {"biases", nullptr},
         {"activation", PyUnicode_InternFromString("relu")},
         {"output_activation", Py_None}}
    );
    return call_op(signature, run_backward, args, nargs, kwnames);
}

PyObject* mlp_gradients(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mlp_gradients", 9,
        {{"x", nullptr},
         {"target", nullptr},
         {"sample_weight", nullptr},
         {"weights", nullptr},
         {"biases", nullptr},
         {"activation", nullptr},
         {"output_activation", nullptr},
         {"loss", nullptr},
         {"penalty", nullptr}}
    );
    return call_op(signature, run_gradients, args, nargs, kwnames);
}

PyObject* mlp_train(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mlp_train", 12,
        {{"x", nullptr},
         {"target", nullptr},
         {"sample_weight", nullptr},
         {"weights", nullptr},
         {"biases", nullptr},
         {"activation", nullptr},
         {"output_activation", nullptr},
         {"loss", nullptr},
         {"penalty", nullptr},
         {"rule", nullptr},
         {"order", nullptr},
         {"batch_size", nullptr}}
    );
    return call_op(signature, run_train, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef mlp_methods[] = {
    FASTNORM_METHOD(mlp_forward, "x, weights, biases, *, activation='relu', output_activation=None"),
    FASTNORM_METHOD(mlp_backward, "dy, x, weights, biases, *, activation='relu', output_activation=None"),
    FASTNORM_METHOD(
        mlp_gradients, "x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty"
    ),
    FASTNORM_METHOD(
        mlp_train,
        "x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty, rule, order, "
        "batch_size"
    ),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
