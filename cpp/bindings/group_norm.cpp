// group_norm, and instance_norm as group_norm of one channel a group.
#include "bindings/channels.h"
#include "bindings/module.h"

namespace fastnorm {

namespace {

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
    PyObject *x, *num_groups, *weight, *bias, *eps, *axis;
    int out_slot;
};

Outcome run_group_norm(const Call& call, const GroupForward& slots) {
    const std::optional<Array> x = as_array(slots.x);
    Axes axes;
    if (!x || !as_channel_axis(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<std::int64_t> num_groups = as_groups(slots.num_groups, x->shape()[axes.axis[0]]);
    if (!eps || !num_groups) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);
    Result y = result_like(*x, call, slots.out_slot, {slots.x, slots.weight, slots.bias});
    if (!y.canonical) return not_canonical;
    if (!y.object || x->size() == 0) return finished(y.object.release());

    Channels size = groups_of(*x, axes.axis[0], *num_groups);
    const View arrays[] = {*x, y.array};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 2, axes.axis[0]);
    Numbers numbers(forward_numbers(size));
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelForward task = {};
    task.size = size;
    place_numbers(task, numbers);
    place_arrays(task, geometry, *x, y.array, y.warm);
    task.weight = weight.data();
    task.bias = bias.data();
    task.eps = *eps;
    task.count = size.count();
    const std::int64_t packing = packing_bytes(geometry, 2, item_size(x->element));
    if (!run_planned(channel_forward_nanoseconds(size, true), [&] {
            return run_channel_forward(task, x->element, packing, true);
        })) {
        return finished(nullptr);
    }
    return finished(y.object.release());
}

struct GroupBackward {
    PyObject *dy, *x, *num_groups, *weight, *bias, *eps, *axis;
};

Outcome run_group_norm_backward(const GroupBackward& slots) {
    const std::optional<Array> dy = as_array(slots.dy), x = as_array(slots.x);
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!as_channel_axis(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<std::int64_t> num_groups = as_groups(slots.num_groups, x->shape()[axes.axis[0]]);
    if (!eps || !num_groups) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);

    NewArray fresh = new_like(*x);
    const Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    void* gradients[2];
    const Reference dweight = channel_gradient_like(weight, *x, axes, gradients[0]);
    const Reference dbias = channel_gradient_like(bias, *x, axes, gradients[1]);
    if (!dweight || !dbias) return finished(nullptr);
    if (x->size() == 0) {
        clear_gradient(dweight);
        clear_gradient(dbias);
        return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
    }

    Channels size = groups_of(*x, axes.axis[0], *num_groups);
    const View arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 3, axes.axis[0]);
    const std::int64_t planes = size.outer * size.channels;
    const bool accumulate = gradients[0] || gradients[1];
    Numbers numbers(backward_numbers(size) + (accumulate ? 2 * planes : 0));
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelBackward task = {};
    ChannelForward& forward = task.forward;
    forward.size = size;
    place_numbers(task, numbers);
    place_arrays(task, geometry, *x, fresh.warm);
    forward.weight = weight.data();
    forward.eps = *eps;
    forward.count = size.count();
    forward.round_statistics = true;
    task.through = task.sums = true;
    task.plane_dweight = accumulate ? numbers.take(planes) : nullptr;
    task.plane_dbias = accumulate ? numbers.take(planes) : nullptr;
    const std::int64_t packing = packing_bytes(geometry, 3, item_size(x->element));
    if (!run_planned(channel_backward_nanoseconds(size, true), [&] {
            return run_channel_backward(task, x->element, packing, true);
        })) {
        return finished(nullptr);
    }
    const double* const shares[2] = {task.plane_dweight, task.plane_dbias};
    for (int k = 0; k < 2; ++k) {
        if (gradients[k]) sum_samples(size, shares[k], compute_element(x->element), gradients[k]);
    }
    return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
}

PyObject* group_norm(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "group_norm", 4,
        {{"x", nullptr},
         {"num_groups", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)},
         {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) {
        return run_group_norm(call, {call[0], call[1], call[2], call[3], call[4], call[5], 6});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* group_norm_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "group_norm_backward", 5,
        {{"dy", nullptr},
         {"x", nullptr},
         {"num_groups", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)}}
    );
    const OpFunction run = [](const Call& call) {
        return run_group_norm_backward({call[0], call[1], call[2], call[3], call[4], call[5], call[6]});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* instance_norm(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "instance_norm", 3,
        {{"x", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)},
         {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) {
        return run_group_norm(call, {call[0], nullptr, call[1], call[2], call[3], call[4], 5});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* instance_norm_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "instance_norm_backward", 4,
        {{"dy", nullptr},
         {"x", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)}}
    );
    const OpFunction run = [](const Call& call) {
        return run_group_norm_backward({call[0], call[1], nullptr, call[2], call[3], call[4], call[5]});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef group_norm_methods[] = {
    FASTNORM_METHOD(group_norm, "x, num_groups, weight=None, bias=None, *, eps=1e-05, axis=1, out=None"),
    FASTNORM_METHOD(group_norm_backward, "dy, x, num_groups, weight=None, bias=None, *, eps=1e-05, axis=1"),
    FASTNORM_METHOD(instance_norm, "x, weight=None, bias=None, *, eps=1e-05, axis=1, out=None"),
    FASTNORM_METHOD(instance_norm_backward, "dy, x, weight=None, bias=None, *, eps=1e-05, axis=1"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
