// batch_norm: forward, backward and the running statistics.
#include <cmath>

#include "bindings/channels.h"
#include "bindings/families.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// 0 or 1.
std::optional<double> as_correction(PyObject* slot) {
    if (!PyLong_CheckExact(slot)) return std::nullopt;
    int overflow = 0;
    const long value = PyLong_AsLongAndOverflow(slot, &overflow);
    if (overflow || value < 0 || value > 1) return std::nullopt;
    return double(value);
}

// mean and rstd given as statistics: of the compute type, or float64.
struct GivenStatistics {
    std::optional<Array> mean, rstd;
    bool canonical = true;

    bool given() const { return mean.has_value(); }
};

bool is_given_statistic(const std::optional<Array>& array, const Array& x, std::int64_t channels) {
    return array && array->ndim() == 1 && array->shape()[0] == channels && PyArray_ISALIGNED(array->object) &&
           (array->element == compute_element(x.element) || array->element == Element::float64);
}

GivenStatistics as_given_statistics(PyObject* slot, const Array& x, std::int64_t channels) {
    GivenStatistics stats;
    if (slot == Py_None) return stats;
    stats.canonical = false;
    if (!PyTuple_CheckExact(slot) || PyTuple_GET_SIZE(slot) != 2) return stats;
    stats.mean = as_array(PyTuple_GET_ITEM(slot, 0));
    stats.rstd = as_array(PyTuple_GET_ITEM(slot, 1));
    stats.canonical =
        is_given_statistic(stats.mean, x, channels) && is_given_statistic(stats.rstd, x, channels);
    return stats;
}

void copy_numbers(const Array& from, double* to) {
    const char* element = from.data();
    for (npy_intp i = 0; i < from.shape()[0]; ++i, element += from.strides()[0]) {
        to[i] = from.element == Element::float64 ? *reinterpret_cast<const double*>(element)
                                                 : double(*reinterpret_cast<const float*>(element));
    }
}

// A new array of the compute type with the values of `from`.
Reference statistic_of(const double* from, npy_intp count, Element element) {
    Reference array = new_array(1, &count, compute_type_number(element));
    if (!array) return array;
    void* data = PyArray_DATA(array.array());
    for (npy_intp i = 0; i < count; ++i) {
        if (compute_element(element) == Element::float64) {
            static_cast<double*>(data)[i] = from[i];
        } else {
            static_cast<float*>(data)[i] = float(from[i]);
        }
    }
    return array;
}

// running_mean and running_var as contiguous memory, which is written back where it is not the arrays' own.
struct Running {
    Parameter mean, var;
    PyObject* slots[2] = {Py_None, Py_None};

    bool given() const { return bool(mean.array); }
    bool canonical() const { return mean.canonical && var.canonical; }
    bool failed() const { return mean.failed || var.failed; }
    bool write_back() const {
        const Parameter* parameters[] = {&mean, &var};
        for (int k = 0; k < 2; ++k) {
            if (parameters[k]->array.get() == slots[k]) continue;
            if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(slots[k]), parameters[k]->array.array()) <
                0)
                return false;
        }
        return true;
    }
};

Running as_running(PyObject* mean, PyObject* var, const Array& x, const Axes& channel) {
    Running running;
    if (mean == Py_None && var == Py_None) return running;
    const Axes others = other_axes(channel, x.ndim());
    running.slots[0] = mean;
    running.slots[1] = var;
    running.mean = as_statistic(mean, x, others);
    running.var = as_statistic(var, x, others);
    return running;
}

// Whether the running arrays can be updated: writeable, and apart from each other and from all other arrays.
bool can_update(const Running& running, std::initializer_list<PyObject*> others, bool checked) {
    for (PyObject* slot : running.slots) {
        const std::optional<Array> array = as_array(slot);
        if (!array || !PyArray_ISWRITEABLE(array->object)) return false;
        if (checked) continue;
        for (PyObject* other_slot : others) {
            const std::optional<Array> other = as_array(other_slot);
            if (other && other_slot != slot && !are_apart(*array, *other)) return false;
        }
    }
    return checked || running.slots[0] != running.slots[1];
}

struct BatchNormArguments {
    FASTNORM_ARGUMENTS(
        x, weight, bias, running_mean, running_var, training, momentum, running_correction, eps, axis, stats,
        return_stats, out
    )
};

Outcome batch_norm(const Call<BatchNormArguments>& call) {
    const std::optional<Array> x = as_array(call.x);
    Axes axes;
    if (!x || !as_channel_axis(call.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call.training), return_stats = as_flag(call.return_stats);
    const std::optional<double> momentum = as_number(call.momentum, 0), eps = as_number(call.eps, 0);
    const std::optional<double> correction = as_correction(call.running_correction);
    if (!training || !return_stats || !momentum || *momentum > 1 || !eps || !correction) return not_canonical;
    Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Parameter weight = as_parameter(call.weight, *x, axes), bias = as_parameter(call.bias, *x, axes);
    const GivenStatistics stats = as_given_statistics(call.stats, *x, size.channels);
    const Running running = as_running(call.running_mean, call.running_var, *x, axes);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical())
        return not_canonical;
    if (weight.failed || bias.failed || running.failed()) return finished(nullptr);
    const bool from_x = !stats.given() && (*training || !running.given());
    const bool update = from_x && running.given() && x->size() > 0;
    if (*training && from_x && size.count() == 1) return not_canonical;
    const std::initializer_list<PyObject*> arrays_given = {
        call.x, call.weight, call.bias, call.running_mean, call.running_var, call.out
    };
    if (*training && running.given() && !can_update(running, arrays_given, call.checked))
        return not_canonical;
    Result y =
        result_like(*x, out_of(call), {call.x, call.weight, call.bias, call.running_mean, call.running_var});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);

    const Array arrays[] = {*x, y.array};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 2, axes.axis[0]);
    const std::int64_t channels = size.channels, columns = size.planes ? 0 : size.columns();
    Numbers numbers(3 * channels + 3 * columns);
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelForward task = {};
    task.size = size;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.weight = weight.data();
    task.bias = bias.data();
    task.eps = *eps;
    task.count = size.count();
    task.mean = numbers.take(channels);
    task.m2 = numbers.take(channels);
    task.rstd = numbers.take(channels);
    task.coefficients = columns > 0 ? numbers.take(3 * columns) : nullptr;
    if (stats.given()) {
        copy_numbers(*stats.mean, task.mean);
        copy_numbers(*stats.rstd, task.rstd);
        task.m2 = nullptr;
    } else if (!from_x) {
        copy_numbers({running.mean.array.array(), compute_element(x->element)}, task.mean);
        copy_numbers({running.var.array.array(), compute_element(x->element)}, task.m2);
        task.count = 1;
    } else if (update) {
        task.running_mean = PyArray_DATA(running.mean.array.array());
        task.running_var = PyArray_DATA(running.var.array.array());
        task.momentum = *momentum;
        task.correction = *correction;
    }
    task.stream = y.warm && 2 * x->bytes() > stream_bytes && x->data() != y.array.data() && task.y.contiguous;
    const std::int64_t item = item_size(x->element);
    if (x->size() > 0) {
        if (!run_channel_forward(task, x->element, packing_bytes(geometry, 2, item), from_x))
            return finished(nullptr);
        if (update && !running.write_back()) return finished(nullptr);
    } else if (from_x) {
        for (std::int64_t c = 0; c < channels; ++c) task.mean[c] = task.rstd[c] = std::nan("");
    } else if (!run_kernel(kernels().channel_statistics[int(x->element)], task, channels, channels, 0, 0)) {
        return finished(nullptr);
    }
    if (!*return_stats) return finished(y.object.release());
    const Reference mean = statistic_of(task.mean, channels, x->element);
    const Reference rstd = statistic_of(task.rstd, channels, x->element);
    if (!mean || !rstd) return finished(nullptr);
    return finished(PyTuple_Pack(3, y.object.get(), mean.get(), rstd.get()));
}

struct BatchNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, running_mean, running_var, training, eps, axis, stats)
};

Outcome batch_norm_backward(const Call<BatchNormBackwardArguments>& call) {
    const std::optional<Array> dy = as_array(call.dy), x = as_array(call.x);
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!as_channel_axis(call.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call.training);
    const std::optional<double> eps = as_number(call.eps, 0);
    if (!training || !eps) return not_canonical;
    Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Parameter weight = as_parameter(call.weight, *x, axes), bias = as_parameter(call.bias, *x, axes);
    const GivenStatistics stats = as_given_statistics(call.stats, *x, size.channels);
    const Running running = as_running(call.running_mean, call.running_var, *x, axes);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical())
        return not_canonical;
    if (weight.failed || bias.failed || running.failed()) return finished(nullptr);
    const bool through = *training || (!stats.given() && !running.given());
    const bool from_x = through && !stats.given();
    if (*training && from_x && size.count() == 1) return not_canonical;

    NewArray fresh = new_like(*x);
    const Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    ChannelBackward task = {};
    const Reference dweight = channel_gradient_like(weight, *x, axes, task.dweight);
    const Reference dbias = channel_gradient_like(bias, *x, axes, task.dbias);
    if (!dweight || !dbias) return finished(nullptr);
    if (x->size() == 0) {
        clear_gradient(dweight);
        clear_gradient(dbias);
        return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
    }

    const Array arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 3, axes.axis[0]);
    const std::int64_t channels = size.channels, columns = size.planes ? 0 : size.columns();
    Numbers numbers(5 * channels + 4 * columns);
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelForward& forward = task.forward;
    forward.size = size;
    forward.x = geometry.operands[1];
    forward.y = no_result;
    forward.weight = weight.data();
    forward.eps = *eps;
    forward.count = size.count();
    forward.mean = numbers.take(channels);
    forward.m2 = numbers.take(channels);
    forward.rstd = numbers.take(channels);
    forward.round_statistics = from_x;
    task.dy = geometry.operands[0];
    task.dx = geometry.operands[2];
    task.slope = numbers.take(channels);
    task.offset = numbers.take(channels);
    task.coefficients = forward.coefficients = columns > 0 ? numbers.take(4 * columns) : nullptr;
    task.through = through;
    task.sums = through || task.dweight || task.dbias;
    task.stream = fresh.warm && 3 * x->bytes() > stream_bytes && task.dx.contiguous;
    if (stats.given()) {
        copy_numbers(*stats.mean, forward.mean);
        copy_numbers(*stats.rstd, forward.rstd);
        forward.m2 = nullptr;
    } else if (!from_x) {
        copy_numbers({running.mean.array.array(), compute_element(x->element)}, forward.mean);
        copy_numbers({running.var.array.array(), compute_element(x->element)}, forward.m2);
        forward.count = 1;
    }
    if (!run_channel_backward(task, x->element, packing_bytes(geometry, 3, item_size(x->element)), from_x))
        return finished(nullptr);
    return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
}

}  // namespace

const NativeOp channel_norm_ops[] = {
    FASTNORM_OP(batch_norm),
    FASTNORM_OP(batch_norm_backward),
    end_of_ops,
};

}  // namespace fastnorm
