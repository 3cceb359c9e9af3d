#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "bindings/mlp_losses.h"
#include "bindings/families.h"
#include "bindings/network.h"
#include "bindings/optim.h"

namespace fastnorm {

namespace {

constexpr auto signal_interval = std::chrono::milliseconds(50);  // how long Ctrl-C may wait, beside one step

// A new contiguous array of x's type: x's shape with another last axis.
Reference new_output(const Array& x, npy_intp cols) {
    npy_intp shape[NPY_MAXDIMS];
    std::memcpy(shape, x.shape(), sizeof(npy_intp) * std::size_t(x.ndim()));
    shape[x.ndim() - 1] = cols;
    PyArray_Descr* descr = PyArray_DESCR(x.object);
    Py_INCREF(descr);
    return Reference(
        PyArray_NewFromDescr(&PyArray_Type, descr, x.ndim(), shape, nullptr, nullptr, 0, nullptr)
    );
}

// New arrays for the gradients of all parameters, merged: two lists, the second None where there are no
// biases.
bool gradient_lists(Network& network, double penalty, Reference& dweights, Reference& dbiases) {
    const std::size_t count = network.layer_count();
    dweights = Reference(PyList_New(Py_ssize_t(count)));
    Py_INCREF(Py_None);
    dbiases = Reference(network.has_biases() ? PyList_New(Py_ssize_t(count)) : Py_None);
    if (network.has_biases()) Py_DECREF(Py_None);
    if (!dweights || !dbiases) return false;
    const auto gradient = [&](std::size_t i) -> PyObject* {
        const Array& parameter = network.parameters()[i];
        Reference array =
            new_array(parameter.ndim(), parameter.shape(), compute_type_number(network.element()));
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

struct MlpForwardArguments {
    FASTNORM_ARGUMENTS(x, weights, biases, activation, output_activation)
};

Outcome mlp_forward(const Call<MlpForwardArguments>& call) {
    const std::optional<Array> x = as_array(call.x);
    Network network;
    if (!x || !network.recognise(*x, call.weights, call.biases, call.activation, call.output_activation))
        return not_canonical;
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

struct MlpBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weights, biases, activation, output_activation)
};

Outcome mlp_backward(const Call<MlpBackwardArguments>& call) {
    const std::optional<Array> dy = as_array(call.dy), x = as_array(call.x);
    Network network;
    if (!x || !dy || dy->element != x->element) return not_canonical;
    if (!network.recognise(*x, call.weights, call.biases, call.activation, call.output_activation))
        return not_canonical;
    if (dy->ndim() != x->ndim() || dy->shape()[x->ndim() - 1] != network.outputs()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), x->shape(), x->ndim() - 1)) return not_canonical;
    Reference copy, dy_copy;
    const std::optional<RowMatrix> rows = as_rows(*x, copy), slopes = as_rows(*dy, dy_copy);
    Reference dx = new_output(*x, x->shape()[x->ndim() - 1]);
    if (!rows || !slopes || !dx) return finished(nullptr);
    if (!network.reserve(std::max<std::int64_t>(rows->rows, 1), true, true))
        return finished(PyErr_NoMemory());
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

// ---- training ---------------------------------------------------------------------------------------------

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
    template <class Arguments>
    bool recognise(const Call<Arguments>& call, bool& failed) {
        const std::optional<Array> array = as_array(call.x);
        if (!array || array->ndim() != 2 || array->shape()[0] < 1) return false;
        if (!network.recognise(*array, call.weights, call.biases, call.activation, call.output_activation))
            return false;
        const std::optional<LossKind> kind = as_loss(call.loss, loss.option);
        const std::optional<double> number = as_number(call.penalty, 0);
        if (!kind || !number) return false;
        loss.kind = *kind;
        loss.outputs = network.outputs();
        penalty = *number;
        const std::optional<RowMatrix> rows = as_rows(*array, x_copy);
        x = *rows;  // two axes are never copied
        if (!as_target(call.target, *array, failed)) return false;
        if (call.sample_weight == Py_None) return true;
        const std::optional<Array> weight = as_array(call.sample_weight);
        if (!weight || weight->element != Element::float64 || weight->ndim() != 1) return false;
        if (weight->shape()[0] != x.rows || !PyArray_ISCARRAY_RO(weight->object)) return false;
        loss.sample_weight = reinterpret_cast<const double*>(weight->data());
        return true;
    }

    // Rows [start, start + count) of the order, or of x: forward, loss and backward. Returns the loss with
    // its penalty.
    double run(const std::int64_t* order, std::int64_t start, std::int64_t count) {
        RowMatrix batch = x;
        if (!order) batch.data += start * x.row_stride;
        network.take_x(batch);
        network.task().order = loss.order = order ? order + start : nullptr;
        loss.start = order ? 0 : start;
        double total = double(count);
        if (loss.sample_weight) {
            total = 0;
            for (std::int64_t i = start; i < start + count; ++i)
                total += loss.sample_weight[order ? order[i] : i];
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
        if (!numbers || numbers->element != input.element || numbers->ndim() != 2 ||
            loss.kind == LossKind::focal)
            return false;
        if (numbers->shape()[0] != x.rows || numbers->shape()[1] != loss.outputs) return false;
        PyArrayObject* target = array;
        loss.element = compute_element(input.element);
        if (loss.element != input.element) {
            PyArray_Descr* descr = PyArray_DescrFromType(compute_type_number(input.element));
            target_copy =
                Reference(PyArray_FromArray(array, descr, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST));
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

struct MlpGradientsArguments {
    FASTNORM_ARGUMENTS(
        x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty
    )
};

Outcome mlp_gradients(const Call<MlpGradientsArguments>& call) {
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

struct MlpTrainArguments {
    FASTNORM_ARGUMENTS(
        x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty, rule, order,
        batch_size
    )
};

Outcome mlp_train(const Call<MlpTrainArguments>& call) {
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
    if (!as_rule(call.rule, parameters.data(), Py_ssize_t(parameters.size()), rule)) return not_canonical;
    const std::int64_t* order = nullptr;
    std::int64_t count = lesson.x.rows;
    if (call.order != Py_None) {
        if (!PyArray_CheckExact(call.order)) return not_canonical;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(call.order);
        if (PyArray_TYPE(array) != NPY_INT64 || PyArray_NDIM(array) != 1 || !PyArray_ISCARRAY_RO(array))
            return not_canonical;
        order = static_cast<const std::int64_t*>(PyArray_DATA(array));
        count = PyArray_SIZE(array);
        for (std::int64_t i = 0; i < count; ++i) {
            if (order[i] < 0 || order[i] >= lesson.x.rows) return not_canonical;
        }
    }
    if (!PyLong_CheckExact(call.batch_size)) return not_canonical;
    const long long given = PyLong_AsLongLong(call.batch_size);
    if (given < 0 || count < 1) return not_canonical;
    const std::int64_t batch = given == 0 || given > count ? count : given;
    if (!network.reserve(batch, true, false)) return finished(PyErr_NoMemory());

    double total = 0;
    std::int64_t start = 0;
    while (start < count) {
        {
            const bool brief = network.microseconds() * double(count) / double(batch) < gil_microseconds;
            const ReleasedGil released(!brief);
            const auto began =
                brief ? std::chrono::steady_clock::time_point{} : std::chrono::steady_clock::now();
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

}  // namespace

const NativeOp mlp_ops[] = {
    FASTNORM_OP(mlp_forward),
    FASTNORM_OP(mlp_backward),
    FASTNORM_OP(mlp_gradients),
    FASTNORM_OP(mlp_train),
    end_of_ops,
};

}  // namespace fastnorm
