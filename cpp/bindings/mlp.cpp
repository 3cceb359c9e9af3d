#include <chrono>
#include <cmath>
#include <cstring>

#include "bindings/families.h"
#include "bindings/network.h"
#include "bindings/optim.h"
#include "bindings/run.h"
#include "plan/training.h"

namespace fastnorm {

namespace {

// How long Ctrl-C may wait, beside one step.
constexpr std::chrono::steady_clock::duration signal_interval = std::chrono::milliseconds(50);

// A new contiguous array of x's type: x's shape with another last axis.
Reference new_output(const Array& x, npy_intp cols) {
    npy_intp shape[NPY_MAXDIMS];
    std::memcpy(shape, x.shape(), sizeof(npy_intp) * std::size_t(x.ndim()));
    shape[x.ndim() - 1] = cols;
    return new_array(x.ndim(), shape, type_number_of(x.element));
}

// New arrays for the gradients of all parameters: two lists, the second None where there are no biases.
class GradientLists {
public:
    // False with an error set where there is no memory.
    bool create(const Network& network) {
        const std::size_t count = network.layers().size();
        gradients_.reserve(network.parameter_count());
        dweights = Reference(PyList_New(Py_ssize_t(count)));
        dbiases = Reference(network.has_biases() ? PyList_New(Py_ssize_t(count)) : Py_NewRef(Py_None));
        if (!dweights || !dbiases) return false;
        for (std::size_t l = 0; l < count; ++l) {
            if (!add(network, l, dweights, l)) return false;
        }
        for (std::size_t l = 0; network.has_biases() && l < count; ++l) {
            if (!network.has_bias(l)) {
                PyList_SET_ITEM(dbiases.get(), Py_ssize_t(l), Py_NewRef(Py_None));
            } else if (!add(network, network.bias_index(l), dbiases, l)) {
                return false;
            }
        }
        return true;
    }

    // The gradients of the last run.
    template <class Merge>
    void merge(Merge merge) const {
        for (const Gradient& gradient : gradients_) merge(gradient.parameter, gradient.data);
    }
    void clear() const {
        for (const Gradient& gradient : gradients_) std::memset(gradient.data, 0, gradient.bytes);
    }

    Reference dweights, dbiases;

private:
    struct Gradient {
        std::size_t parameter;
        void* data;
        std::size_t bytes;
    };

    bool add(const Network& network, std::size_t parameter, const Reference& list, std::size_t place) {
        const View view = network.parameter(parameter);
        Reference array = new_array(view.ndim, view.shape, compute_type_number(network.element()));
        if (!array) return false;
        gradients_.push_back(
            {parameter, PyArray_DATA(array.array()), std::size_t(PyArray_NBYTES(array.array()))}
        );
        PyList_SET_ITEM(list.get(), Py_ssize_t(place), array.release());
        return true;
    }

    std::vector<Gradient> gradients_;
};

struct MlpForwardArguments {
    FASTNORM_ARGUMENTS(x, weights, biases, activation, output_activation)
    FASTNORM_SEQUENCES(weights, biases)
};

Outcome mlp_forward(const Call<MlpForwardArguments>& call) {
    MaybeArray x = as_array(call.x);
    Network network;
    if (!x ||
        !as_network(
            *x, call.weights, call.biases, call.activation, call.output_activation, Packed::taken, network
        ))
        return not_canonical;
    Reference copy;
    const std::optional<RowMatrix> rows = as_rows(*x, copy);
    Reference y = new_output(*x, npy_intp(network.outputs()));
    if (!rows || !y) return finished(nullptr);
    if (rows->rows > 0 && network.outputs() > 0) {
        if (!network.reserve(rows->rows, {})) return finished(PyErr_NoMemory());
        if (!run_planned(network.nanoseconds(), [&] {
                network.pack();
                network.take_x(*rows);
                network.task().y = PyArray_DATA(y.array());
                return network.run(rows->rows);
            })) {
            return finished(nullptr);
        }
    }
    return finished(y.release());
}

struct MlpBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weights, biases, activation, output_activation)
    FASTNORM_SEQUENCES(weights, biases)
};

Outcome mlp_backward(const Call<MlpBackwardArguments>& call) {
    MaybeArray dy = as_array(call.dy), x = as_array(call.x);
    Network network;
    if (!x || !dy || dy->element != x->element) return not_canonical;
    if (!as_network(
            *x, call.weights, call.biases, call.activation, call.output_activation, Packed::refused, network
        ))
        return not_canonical;
    if (dy->ndim() != x->ndim() || dy->shape()[x->ndim() - 1] != network.outputs()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), x->shape(), x->ndim() - 1)) return not_canonical;
    Reference copy, dy_copy;
    x->fix(), dy->fix();
    const std::optional<RowMatrix> rows = as_rows(*x, copy), slopes = as_rows(*dy, dy_copy);
    Reference dx = new_output(*x, x->shape()[x->ndim() - 1]);
    if (!rows || !slopes || !dx) return finished(nullptr);
    if (!network.reserve(std::max<std::int64_t>(rows->rows, 1), {true, true, nullptr}))
        return finished(PyErr_NoMemory());
    GradientLists gradients;
    if (!gradients.create(network)) return finished(nullptr);
    if (!run_planned(network.nanoseconds(), [&] {
            if (rows->rows == 0) {
                gradients.clear();
                return true;
            }
            network.pack();
            network.take_x(*rows);
            network.task().dy = slopes->data;
            network.task().dy_row_stride = slopes->row_stride;
            network.task().dy_col_stride = slopes->col_stride;
            network.task().dx = PyArray_DATA(dx.array());
            if (!network.run(rows->rows)) return false;
            gradients.merge([&](std::size_t i, void* gradient) { network.merge(i, nullptr, gradient); });
            return true;
        })) {
        return finished(nullptr);
    }
    return finished(PyTuple_Pack(3, dx.get(), gradients.dweights.get(), gradients.dbiases.get()));
}

// ---- training ---------------------------------------------------------------------------------------------

std::optional<LossKind> as_loss(PyObject* name, PyObject* number, double& option) {
    const std::optional<double> given = as_number(number, -HUGE_VAL);
    if (!PyUnicode_CheckExact(name) || (!given && number != Py_None)) return std::nullopt;
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
        {"bce", LossKind::bce, 0},
        {"l1", LossKind::l1, 0},
        {"huber", LossKind::huber, 1},
        {"smooth_l1", LossKind::smooth_l1, 1},
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
struct GivenLesson {
    Lesson lesson;
    Reference x_copy, target_copy, sample_weight;

    // False where the arguments are not canonical, or `failed` with an error set. Of what may be copied
    // nothing is looked at after the copy but what it left.
    template <class Arguments>
    bool recognise(const Call<Arguments>& call, bool& failed) {
        MaybeArray array = as_array(call.x);
        if (!array || array->ndim() != 2 || array->shape()[0] < 1) return false;
        if (!as_network(
                *array, call.weights, call.biases, call.activation, call.output_activation, Packed::refused,
                lesson.network
            ))
            return false;
        const MaybeArray first = as_array(PyTuple_GET_ITEM(call.weights, 0));
        if (!first || first->element != array->element) return false;
        TrainingLoss& loss = lesson.loss;
        const std::optional<LossKind> kind = as_loss(call.loss, call.option, loss.option);
        const std::optional<double> number = as_number(call.penalty, 0);
        if (!kind || !number) return false;
        loss.kind = *kind;
        loss.outputs = lesson.network.outputs();
        lesson.penalty = *number;
        const std::optional<RowMatrix> rows = as_rows(*array, x_copy);
        lesson.x = *rows;  // two axes are never copied
        if (!as_target(call.target, *array, failed)) return false;
        if (call.sample_weight == Py_None) return true;
        MaybeArray weight = as_array(call.sample_weight);
        if (!weight || weight->element != Element::float64 || weight->ndim() != 1) return false;
        if (weight->shape()[0] != lesson.x.rows) return false;
        sample_weight = as_contiguous(*weight, NPY_DOUBLE, *weight);
        failed = !sample_weight;
        if (failed) return false;
        loss.sample_weight = static_cast<const double*>(PyArray_DATA(sample_weight.array()));
        return true;
    }

private:
    bool as_target(PyObject* slot, Array& input, bool& failed) {
        if (!PyArray_CheckExact(slot)) return false;
        TrainingLoss& loss = lesson.loss;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(slot);
        if (is_over_classes(loss.kind) && PyArray_ISINTEGER(array) && !PyArray_ISBYTESWAPPED(array)) {
            if (PyArray_NDIM(array) != 1 || PyArray_DIM(array, 0) != lesson.x.rows) return false;
            target_copy = copy_integers(array, input);
            failed = !target_copy;
            if (failed || !are_below(target_copy, loss.outputs)) return false;
            loss.classes = static_cast<const std::int64_t*>(PyArray_DATA(target_copy.array()));
            return true;
        }
        MaybeArray numbers = as_array(slot);
        if (!numbers || numbers->element != input.element || numbers->ndim() != 2 ||
            loss.kind == LossKind::focal)
            return false;
        if (numbers->shape()[0] != lesson.x.rows || numbers->shape()[1] != loss.outputs) return false;
        loss.element = compute_element(input.element);
        loss.target = numbers->data();
        loss.row_stride = numbers->strides()[0];
        loss.col_stride = numbers->strides()[1];
        if (loss.element != input.element) {
            target_copy = new_copy(*numbers, compute_type_number(input.element));
            failed = !target_copy;
            if (failed) return false;
            loss.target = PyArray_BYTES(target_copy.array());
            loss.col_stride = item_size(loss.element);
            loss.row_stride = loss.outputs * loss.col_stride;
        }
        return true;
    }
};

// Whether the arrays of a tuple (or None, of which there is nothing to update) can be updated where they lie,
// row by row or column by column. MLP holds such arrays, and the twin takes others.
bool are_updated_in_place(PyObject* arrays) {
    for (Py_ssize_t i = 0; arrays != Py_None && i < PyTuple_GET_SIZE(arrays); ++i) {
        PyObject* entry = PyTuple_GET_ITEM(arrays, i);
        if (entry == Py_None) continue;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(entry);
        if (!PyArray_ISCARRAY(array) && !PyArray_ISFARRAY(array)) return false;
    }
    return true;
}

struct MlpGradientsArguments {
    FASTNORM_ARGUMENTS(
        x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty, option
    )
    FASTNORM_SEQUENCES(weights, biases)
};

Outcome mlp_gradients(const Call<MlpGradientsArguments>& call) {
    GivenLesson given;
    bool failed = false;
    if (!given.recognise(call, failed)) return failed ? finished(nullptr) : not_canonical;
    Lesson& lesson = given.lesson;
    if (!lesson.reserve(lesson.x.rows)) return finished(PyErr_NoMemory());
    GradientLists gradients;
    if (!gradients.create(lesson.network)) return finished(nullptr);
    double loss = 0;
    if (!run_planned(lesson.network.nanoseconds(), [&] {
            lesson.run(nullptr, 0, lesson.x.rows);
            if (!lesson.network.is_done()) return false;
            gradients.merge([&](std::size_t i, void* gradient) { lesson.merge(i, gradient); });
            loss = lesson.mean_loss();
            return true;
        })) {
        return finished(nullptr);
    }
    const Reference value(PyFloat_FromDouble(loss));
    if (!value) return finished(nullptr);
    return finished(PyTuple_Pack(3, value.get(), gradients.dweights.get(), gradients.dbiases.get()));
}

struct MlpTrainArguments {
    FASTNORM_ARGUMENTS(
        x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty, rule, order,
        batch_size, option, rates, max_norm, dropout
    )
    FASTNORM_SEQUENCES(weights, biases)
};

// None, or the share of hidden layers that is dropped, and the seed of the first step.
bool as_dropout(PyObject* slot, Lesson& lesson) {
    if (slot == Py_None) return true;
    if (!PyTuple_CheckExact(slot) || PyTuple_GET_SIZE(slot) != 2) return false;
    const std::optional<double> share = as_number(PyTuple_GET_ITEM(slot, 0), 0);
    const std::optional<std::uint64_t> seed = as_seed(PyTuple_GET_ITEM(slot, 1));
    if (!share || *share >= 1 || !seed) return false;
    lesson.seed = *seed;
    lesson.drop(*share);
    return true;
}

// The rates of the steps of an epoch: None, or as many numbers as there are steps or more.
bool as_rates(PyObject* slot, Epoch& epoch) {
    if (slot == Py_None) return true;
    if (!PyArray_CheckExact(slot)) return false;
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(slot);
    if (PyArray_TYPE(array) != NPY_DOUBLE || PyArray_NDIM(array) != 1 || !PyArray_ISCARRAY_RO(array))
        return false;
    epoch.rates = static_cast<const double*>(PyArray_DATA(array));
    return PyArray_DIM(array, 0) >= (epoch.count + epoch.batch - 1) / epoch.batch;
}

Outcome mlp_train(const Call<MlpTrainArguments>& call) {
    GivenLesson given;
    Lesson& lesson = given.lesson;
    bool failed = false;
    if (!given.recognise(call, failed)) return failed ? finished(nullptr) : not_canonical;
    Epoch epoch(lesson);
    epoch.parameters.reserve(lesson.network.parameter_count());
    for (std::size_t i = 0; i < lesson.network.parameter_count(); ++i) {
        const View parameter = lesson.network.parameter(i);
        OptimizedParameter updated;
        updated.data = parameter.data;
        updated.size = parameter.size();
        updated.element = parameter.element;
        epoch.parameters.push_back(updated);
    }
    if (!are_updated_in_place(call.weights) || !are_updated_in_place(call.biases)) return not_canonical;
    if (!as_rule(call.rule, epoch.rule, epoch.parameters)) return not_canonical;
    std::vector<Extent> read;
    for (PyObject* array : {call.x, call.target, call.sample_weight, call.order}) {
        if (PyArray_Check(array)) read.push_back(extent_of(reinterpret_cast<PyArrayObject*>(array)));
    }
    if (!call.checked && !are_written_apart(epoch.parameters, read)) return not_canonical;
    epoch.count = lesson.x.rows;
    Reference order;
    if (call.order != Py_None) {
        if (!PyArray_CheckExact(call.order)) return not_canonical;
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(call.order);
        if (PyArray_TYPE(array) != NPY_INT64 || PyArray_NDIM(array) != 1) return not_canonical;
        MaybeArray x = as_array(call.x);
        order = copy_integers(array, *x);
        if (!order) return finished(nullptr);
        if (!are_below(order, lesson.x.rows)) return not_canonical;
        epoch.order = static_cast<const std::int64_t*>(PyArray_DATA(order.array()));
        epoch.count = PyArray_SIZE(order.array());
    }
    if (!PyLong_CheckExact(call.batch_size)) return not_canonical;
    int overflow = 0;
    const long long batch = PyLong_AsLongLongAndOverflow(call.batch_size, &overflow);
    if (overflow || batch < 0 || epoch.count < 1) return not_canonical;
    epoch.batch = batch == 0 || batch > epoch.count ? epoch.count : batch;
    if (!as_rates(call.rates, epoch)) return not_canonical;
    const std::optional<double> max_norm = as_number(call.max_norm, 0);
    if (!max_norm && call.max_norm != Py_None) return not_canonical;
    if (!as_dropout(call.dropout, lesson)) return not_canonical;
    if (!lesson.reserve(epoch.batch)) return finished(PyErr_NoMemory());
    if (max_norm) epoch.clip(*max_norm);

    const bool is_brief = epoch.nanoseconds() < gil_nanoseconds;
    const double step = std::max(lesson.network.nanoseconds(), 2 * gil_nanoseconds);
    while (epoch.done < epoch.count) {
        {
            const PlannedWork work(is_brief ? 0 : step);
            epoch.run(is_brief ? nullptr : &signal_interval);
        }
        if (epoch.stopped) {
            set_run_error();
            return finished(nullptr);
        }
        // Ctrl-C: the parameters are those of the last finished step.
        if (epoch.done < epoch.count && PyErr_CheckSignals() < 0) return finished(nullptr);
    }
    return finished(PyFloat_FromDouble(epoch.loss()));
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
