// batch_norm, group_norm, instance_norm (group_norm of one channel a group) and moments.
#include <atomic>

#include "bindings/channel_statistics.h"
#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/parameter_gradients.h"
#include "plan/channel_norms.h"

namespace fastnorm {

namespace {

// ---- batch_norm

// 0 or 1.
std::optional<double> as_correction(PyObject* slot) {
    if (!PyLong_CheckExact(slot)) return std::nullopt;
    int overflow = 0;
    const long value = PyLong_AsLongAndOverflow(slot, &overflow);
    if (overflow || value < 0 || value > 1) return std::nullopt;
    return double(value);
}

// What the plan takes in place of x's own statistics.
GivenStatistics statistics_of(const StatisticsArgument& stats, const Running& running) {
    if (stats.given()) return {*stats.mean, *stats.rstd, false};
    return {running.view(running.mean), running.view(running.var), true};
}

struct BatchNormArguments {
    FASTNORM_ARGUMENTS(
        x, weight, bias, running_mean, running_var, training, momentum, running_correction, eps, axis, stats,
        return_stats, out
    )
};

Outcome batch_norm(const Call<BatchNormArguments>& call) {
    MaybeArray x = as_array(call.x);
    Axes axes;
    if (!x || !as_axis(call.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call.training), return_stats = as_flag(call.return_stats);
    const std::optional<double> momentum = as_number(call.momentum, 0), eps = as_number(call.eps, 0);
    const std::optional<double> correction = as_correction(call.running_correction);
    if (!training || !return_stats || !momentum || *momentum > 1 || !eps || !correction) return not_canonical;
    const Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Axes others = other_axes(axes, x->ndim());
    const Parameter weight = as_parameter(call.weight, *x, axes), bias = as_parameter(call.bias, *x, axes);
    const Running running = as_running(call.running_mean, call.running_var, *x, axes);
    const StatisticsArgument stats = as_statistics(call.stats, *x, size.channels);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical())
        return not_canonical;
    if (weight.failed || bias.failed || running.failed()) return finished(nullptr);
    const bool from_x = !stats.given() && (*training || !running.given());
    const bool update = from_x && running.given() && x->size() > 0;
    if (*training && from_x && size.count() == 1) return not_canonical;
    const std::initializer_list<PyObject*> arrays_given = {call.x, call.weight, call.bias, call.out};
    if (*training && running.given() && !can_update(running, arrays_given, call.checked))
        return not_canonical;
    Result y =
        result_like(*x, out_of(call), {call.x, call.weight, call.bias, call.running_mean, call.running_var});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);

    ChannelNormForward plan(size, axes.axis[0], *x, y.array, y.warm);
    if (!plan) return finished(PyErr_NoMemory());
    ChannelForward& task = plan.task;
    task.weight = weight.data();
    task.bias = bias.data();
    task.eps = *eps;
    if (!from_x) plan.use(statistics_of(stats, running));
    if (update) {
        task.running_mean = PyArray_DATA(running.mean.array.array());
        task.running_var = PyArray_DATA(running.var.array.array());
        task.momentum = *momentum;
        task.correction = *correction;
    }
    Reference mean, rstd;
    if (*return_stats) {
        mean = new_statistic(*x, others), rstd = new_statistic(*x, others);
        if (!mean || !rstd) return finished(nullptr);
    }
    if (!run_planned(plan.nanoseconds(), [&] {
            if (!plan.run()) return false;
            for (const auto& [numbers, array] : {std::pair(task.mean, &mean), std::pair(task.rstd, &rstd)}) {
                if (!*array) continue;
                void* const rounded = PyArray_DATA(array->array());
                round_numbers(numbers, size.channels, compute_element(x->element), rounded);
            }
            return true;
        })) {
        return finished(nullptr);
    }
    if (update && !running.write_back()) return finished(nullptr);
    if (!*return_stats) return finished(y.object.release());
    return finished(PyTuple_Pack(3, y.object.get(), mean.get(), rstd.get()));
}

struct BatchNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, running_mean, running_var, training, eps, axis, stats)
};

Outcome batch_norm_backward(const Call<BatchNormBackwardArguments>& call) {
    MaybeArray x = as_array(call.x);
    Axes axes;
    if (!x || !as_axis(call.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call.training);
    const std::optional<double> eps = as_number(call.eps, 0);
    if (!training || !eps) return not_canonical;
    const Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Parameter weight = as_parameter(call.weight, *x, axes), bias = as_parameter(call.bias, *x, axes);
    const Running running = as_running(call.running_mean, call.running_var, *x, axes);
    const StatisticsArgument stats = as_statistics(call.stats, *x, size.channels);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical())
        return not_canonical;
    if (weight.failed || bias.failed || running.failed()) return finished(nullptr);
    const bool through = *training || (!stats.given() && !running.given());
    const bool from_x = through && !stats.given();
    if (*training && from_x && size.count() == 1) return not_canonical;
    const MaybeArray dy = as_array(call.dy);
    if (!dy || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;

    NewArray fresh = new_like(*x);
    const Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    ParameterGradients gradients;
    if (!gradients.create(*x, axes, bool(weight.array), bool(bias.array))) return finished(nullptr);
    const Array written(dx.array(), x->element);
    ChannelNormBackward plan(
        size, axes.axis[0], *dy, *x, written, gradients.weight_data(), gradients.bias_data(), through,
        fresh.warm
    );
    if (!plan) return finished(PyErr_NoMemory());
    plan.task.forward.weight = weight.data();
    plan.task.forward.eps = *eps;
    if (!from_x) plan.use(statistics_of(stats, running));
    if (!run_planned(plan.nanoseconds(), [&] { return plan.run(); })) return finished(nullptr);
    return finished(PyTuple_Pack(3, dx.get(), gradients.weight_or_none(), gradients.bias_or_none()));
}

// ---- group_norm and instance_norm

// The number of groups: an int that divides the channels, or as many as there are where `slot` is null.
std::optional<std::int64_t> as_groups(PyObject* slot, std::int64_t channels) {
    if (!slot) return std::max<std::int64_t>(channels, 1);
    if (!PyLong_CheckExact(slot)) return std::nullopt;
    int overflow = 0;
    const long long groups = PyLong_AsLongLongAndOverflow(slot, &overflow);
    if (overflow || groups < 1 || channels % groups != 0) return std::nullopt;
    return groups;
}

struct GroupForward {
    Slot x, num_groups, weight, bias, eps, axis;  // num_groups: null where each channel is a group
    Out out;
};

Outcome run_group_norm(const GroupForward& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axis(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<std::int64_t> num_groups = as_groups(slots.num_groups, x->shape()[axes.axis[0]]);
    if (!eps || !num_groups) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);
    Result y = result_like(*x, slots.out, {slots.x, slots.weight, slots.bias});
    if (!y.canonical) return not_canonical;
    if (!y.object || x->size() == 0) return finished(y.object.release());

    const Channels size = groups_of(*x, axes.axis[0], *num_groups);
    ChannelNormForward plan(size, axes.axis[0], *x, y.array, y.warm);
    if (!plan) return finished(PyErr_NoMemory());
    plan.task.weight = weight.data();
    plan.task.bias = bias.data();
    plan.task.eps = *eps;
    if (!run_planned(plan.nanoseconds(), [&] { return plan.run(); })) return finished(nullptr);
    return finished(y.object.release());
}

struct GroupBackward {
    Slot dy, x, num_groups, weight, bias, eps, axis;
};

Outcome run_group_norm_backward(const GroupBackward& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axis(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<std::int64_t> num_groups = as_groups(slots.num_groups, x->shape()[axes.axis[0]]);
    if (!eps || !num_groups) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);
    const MaybeArray dy = as_array(slots.dy);
    if (!dy || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;

    NewArray fresh = new_like(*x);
    const Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    ParameterGradients gradients;
    if (!gradients.create(*x, axes, bool(weight.array), bool(bias.array))) return finished(nullptr);
    const Array written(dx.array(), x->element);
    ChannelNormBackward plan(
        groups_of(*x, axes.axis[0], *num_groups), axes.axis[0], *dy, *x, written, gradients.weight_data(),
        gradients.bias_data(), true, fresh.warm
    );
    if (!plan) return finished(PyErr_NoMemory());
    plan.task.forward.weight = weight.data();
    plan.task.forward.eps = *eps;
    if (!run_planned(plan.nanoseconds(), [&] { return plan.run(); })) return finished(nullptr);
    return finished(PyTuple_Pack(3, dx.get(), gradients.weight_or_none(), gradients.bias_or_none()));
}

struct GroupNormArguments {
    FASTNORM_ARGUMENTS(x, num_groups, weight, bias, eps, axis, out)
};
Outcome group_norm(const Call<GroupNormArguments>& call) {
    return run_group_norm(
        {call.x, call.num_groups, call.weight, call.bias, call.eps, call.axis, out_of(call)}
    );
}

struct GroupNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, num_groups, weight, bias, eps, axis)
};
Outcome group_norm_backward(const Call<GroupNormBackwardArguments>& call) {
    return run_group_norm_backward(
        {call.dy, call.x, call.num_groups, call.weight, call.bias, call.eps, call.axis}
    );
}

struct InstanceNormArguments {
    FASTNORM_ARGUMENTS(x, weight, bias, eps, axis, out)
};
Outcome instance_norm(const Call<InstanceNormArguments>& call) {
    return run_group_norm({call.x, nullptr, call.weight, call.bias, call.eps, call.axis, out_of(call)});
}

struct InstanceNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, eps, axis)
};
Outcome instance_norm_backward(const Call<InstanceNormBackwardArguments>& call) {
    return run_group_norm_backward({call.dy, call.x, nullptr, call.weight, call.bias, call.eps, call.axis});
}

// ---- moments

// fastnorm.Moments, looked up by the first call; a borrowed reference, or null with an error set.
PyTypeObject* moments_type() {
    static std::atomic<PyObject*> known{nullptr};
    PyObject* type = known.load(std::memory_order_acquire);
    if (!type) {
        const Reference module(PyImport_ImportModule("fastnorm.channel_norms"));
        type = module ? PyObject_GetAttrString(module.get(), "Moments") : nullptr;
        if (!type) return nullptr;
        PyObject* expected = nullptr;
        if (!known.compare_exchange_strong(expected, type, std::memory_order_acq_rel)) {
            Py_DECREF(type);
            type = expected;
        }
    }
    return reinterpret_cast<PyTypeObject*>(type);
}

// A new named tuple, made without its constructor, which is Python's. It takes the references.
PyObject* new_moments(Reference count, Reference mean, Reference m2) {
    PyTypeObject* const type = moments_type();
    PyObject* const tuple = type ? type->tp_alloc(type, 3) : nullptr;
    if (!tuple) return nullptr;
    PyTuple_SET_ITEM(tuple, 0, count.release());
    PyTuple_SET_ITEM(tuple, 1, mean.release());
    PyTuple_SET_ITEM(tuple, 2, m2.release());
    return tuple;
}

// A new float64 array of x's shape along axes [first, last).
Reference new_moment(const Array& x, int first, int last) {
    return new_array(last - first, x.shape() + first, NPY_DOUBLE);
}

struct MomentsArguments {
    FASTNORM_ARGUMENTS(x, axis)
};

Outcome moments(const Call<MomentsArguments>& call) {
    const MaybeArray x = as_array(call.x);
    Axes axes;
    if (!x || !as_axes(call.axis, x->ndim(), axes)) return not_canonical;
    const Axes kept = other_axes(axes, x->ndim());
    // The kept axes are the channels, which have to be neighbours. With none the first axis is summed by
    // rows.
    const int first = kept.count > 0 ? kept.axis[0] : x->ndim() > 1 ? 1 : 0, last = first + kept.count;
    if (kept.count > 0 && kept.axis[kept.count - 1] != last - 1) return not_canonical;
    const Channels size = channels_of(*x, first, last);
    Reference mean = new_moment(*x, first, last), m2 = new_moment(*x, first, last);
    Reference count(PyLong_FromDouble(size.count()));
    if (!mean || !m2 || !count) return finished(nullptr);
    const View view = *x;
    if (!run_planned(moments_nanoseconds(size), [&] {
            return run_moments(
                view, first, last, static_cast<double*>(PyArray_DATA(mean.array())),
                static_cast<double*>(PyArray_DATA(m2.array()))
            );
        })) {
        return finished(nullptr);
    }
    return finished(new_moments(std::move(count), std::move(mean), std::move(m2)));
}

}  // namespace

const NativeOp channel_norm_ops[] = {
    FASTNORM_OP(batch_norm),    FASTNORM_OP(batch_norm_backward),
    FASTNORM_OP(group_norm),    FASTNORM_OP(group_norm_backward),
    FASTNORM_OP(instance_norm), FASTNORM_OP(instance_norm_backward),
    FASTNORM_OP(moments),       end_of_ops,
};

}  // namespace fastnorm
