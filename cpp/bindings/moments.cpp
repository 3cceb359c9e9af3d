// moments: count, mean and m2 of values along some axes.
#include "bindings/channels.h"
#include "bindings/families.h"

namespace fastnorm {

namespace {

// A new float64 array of x's shape along axes [first, last).
Reference new_moment(const Array& x, int first, int last) {
    return new_array(last - first, x.shape() + first, NPY_DOUBLE);
}

struct MomentsArguments {
    FASTNORM_ARGUMENTS(x, axis)
};

Outcome moments(const Call<MomentsArguments>& call) {
    const std::optional<Array> x = as_array(call.x);
    Axes axes;
    if (!x || !as_axes(call.axis, x->ndim(), axes)) return not_canonical;
    const Axes kept = other_axes(axes, x->ndim());
    // The kept axes are the channels, which have to be neighbours. With none the first axis is summed by
    // rows.
    const int first = kept.count > 0 ? kept.axis[0] : x->ndim() > 1 ? 1 : 0, last = first + kept.count;
    if (kept.count > 0 && kept.axis[kept.count - 1] != last - 1) return not_canonical;
    Channels size = channels_of(*x, first, last);
    const Reference mean = new_moment(*x, first, last), m2 = new_moment(*x, first, last);
    const Reference count(PyLong_FromDouble(size.count()));
    if (!mean || !m2 || !count) return finished(nullptr);
    ChannelForward task = {};
    task.mean = static_cast<double*>(PyArray_DATA(mean.array()));
    task.m2 = static_cast<double*>(PyArray_DATA(m2.array()));
    if (x->size() > 0) {
        Geometry geometry;
        geometry.set_leading(&*x, 1, size.planes ? last : first);
        size.shape = geometry.rows;
        task.size = size;
        task.x = geometry.operands[0];
        task.y = no_result;
        Numbers partials(2 * size.blocks() * size.columns());
        if (!partials) return finished(PyErr_NoMemory());
        task.partials = partials.take(2 * size.blocks() * size.columns());
        const std::int64_t scratch =
            packing_bytes(geometry, 1, item_size(x->element)) + size.columns() * std::int64_t(sizeof(double));
        if (!run_moments(task, x->element, std::size_t(scratch))) return finished(nullptr);
    } else {
        for (std::int64_t c = 0; c < size.channels; ++c) task.mean[c] = task.m2[c] = 0;
    }
    const Reference module(PyImport_ImportModule("fastnorm.channel_norms"));
    const Reference type(module ? PyObject_GetAttrString(module.get(), "Moments") : nullptr);
    if (!type) return finished(nullptr);
    return finished(PyObject_CallFunctionObjArgs(type.get(), count.get(), mean.get(), m2.get(), nullptr));
}

}  // namespace

const NativeOp moments_ops[] = {
    FASTNORM_OP(moments),
    end_of_ops,
};

}  // namespace fastnorm
