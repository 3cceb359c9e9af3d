// group_norm, and instance_norm as group_norm of one channel a group.
#include "bindings/channels.h"
#include "bindings/families.h"

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
    Slot x, num_groups, weight, bias, eps, axis;  // num_groups: null where each channel is a group
    Out out;
};

Outcome run_group_norm(const GroupForward& slots) {
    const std::optional<Array> x = as_array(slots.x);
    Axes axes;
    if (!x || !as_channel_axis(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<std::int64_t> num_groups = as_groups(slots.num_groups, x->shape()[axes.axis[0]]);
    if (!eps || !num_groups) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);
    Result y = result_like(*x, slots.out, {slots.x, slots.weight, slots.bias});
    if (!y.canonical) return not_canonical;
    if (!y.object || x->size() == 0) return finished(y.object.release());

    Channels size = groups_of(*x, axes.axis[0], *num_groups);
    const Array arrays[] = {*x, y.array};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 2, axes.axis[0]);
    Numbers numbers(3 * size.channels);
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelForward task = {};
    task.size = size;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.weight = weight.data();
    task.bias = bias.data();
    task.eps = *eps;
    task.count = size.count();
    task.mean = numbers.take(size.channels);
    task.m2 = numbers.take(size.channels);
    task.rstd = numbers.take(size.channels);
    task.stream = y.warm && 2 * x->bytes() > stream_bytes && x->data() != y.array.data() && task.y.contiguous;
    if (!run_channel_forward(task, x->element, packing_bytes(geometry, 2, item_size(x->element)), true))
        return finished(nullptr);
    return finished(y.object.release());
}

struct GroupBackward {
    Slot dy, x, num_groups, weight, bias, eps, axis;
};

// The gradients of the parameters from the shares of the planes, which are (place in the group, sample,
// group).
template <class S>
void sum_samples(const Channels& size, const double* shares, void* sums) {
    const std::int64_t num_groups = size.weight_period, samples = size.channels / num_groups;
    for (std::int64_t place = 0; place < size.outer; ++place) {
        for (std::int64_t group = 0; group < num_groups; ++group) {
            double total = 0;
            for (std::int64_t n = 0; n < samples; ++n)
                total += shares[(place * samples + n) * num_groups + group];
            static_cast<S*>(sums)[group * size.outer + place] = S(total);
        }
    }
}

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
    const Array arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    Geometry geometry;
    describe_channels(size, geometry, arrays, 3, axes.axis[0]);
    const std::int64_t channels = size.channels, planes = size.outer * channels;
    const bool accumulate = gradients[0] || gradients[1];
    Numbers numbers(5 * channels + (accumulate ? 2 * planes : 0));
    if (!numbers) return finished(PyErr_NoMemory());
    ChannelBackward task = {};
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
    forward.round_statistics = true;
    task.dy = geometry.operands[0];
    task.dx = geometry.operands[2];
    task.slope = numbers.take(channels);
    task.offset = numbers.take(channels);
    task.through = task.sums = true;
    task.plane_dweight = accumulate ? numbers.take(planes) : nullptr;
    task.plane_dbias = accumulate ? numbers.take(planes) : nullptr;
    task.stream = fresh.warm && 3 * x->bytes() > stream_bytes && task.dx.contiguous;
    if (!run_channel_backward(task, x->element, packing_bytes(geometry, 3, item_size(x->element)), true))
        return finished(nullptr);
    const double* const shares[2] = {task.plane_dweight, task.plane_dbias};
    for (int k = 0; k < 2; ++k) {
        if (!gradients[k]) continue;
        (x->element == Element::float64 ? sum_samples<double> : sum_samples<float>)(size, shares[k],
                                                                                    gradients[k]);
    }
    return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
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

}  // namespace

const NativeOp group_norm_ops[] = {
    FASTNORM_OP(group_norm),
    FASTNORM_OP(group_norm_backward),
    FASTNORM_OP(instance_norm),
    FASTNORM_OP(instance_norm_backward),
    end_of_ops,
};

}  // namespace fastnorm
