#include "bindings/channels.h"

#include <cstring>

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, by which the number of threads is chosen: measured in cache, float32.
constexpr double moments_nanoseconds = 0.1;
constexpr double apply_nanoseconds = 0.1;
constexpr double sums_nanoseconds = 0.15;
constexpr double gradient_nanoseconds = 0.15;

// What the channels of a group of planes may take of the second-level cache, x and y (or dy, x and dx)
// together.
constexpr std::int64_t group_bytes = 512 << 10;

// Blocks of planes that are merged: enough to share out, few enough to keep.
constexpr std::int64_t most_blocks = 128;

// Whether there are groups enough for the threads; else the planes are shared out, in three steps.
bool by_groups(const Channels& size, double nanoseconds) {
    return size.planes &&
           (size.channels + size.group - 1) / size.group >= 2 * worthwhile_threads(nanoseconds / 1000);
}

double elements(const Channels& size) { return size.count() * double(size.channels); }

std::int64_t groups(const Channels& size) { return (size.channels + size.group - 1) / size.group; }

// Tiles of 16 KiB at least.
std::int64_t tiles_per_chunk(const Channels& size, std::int64_t item) {
    return rows_per_chunk(size.shape, item) / tile_rows + 1;
}

}  // namespace

Channels channels_of(const Array& x, int first, int last) {
    Channels size = {};
    size.outer = size.channels = size.inner = 1;
    for (int i = 0; i < x.ndim(); ++i)
        (i < first ? size.outer : i < last ? size.channels : size.inner) *= x.shape()[i];
    size.planes = size.inner >= least_plane;
    size.block_outer = size.planes ? std::max<std::int64_t>((size.outer + most_blocks - 1) / most_blocks, 1)
                                   : rows_per_block(size.outer);
    size.weight_period = std::max<std::int64_t>(size.channels, 1);
    size.weight_step = 1;
    return size;
}

Channels groups_of(const Array& x, int axis, std::int64_t num_groups) {
    Channels size = {};
    size.outer = x.shape()[axis] / num_groups;
    size.channels = num_groups * (axis == 0 ? 1 : x.shape()[0]);
    size.inner = 1;
    for (int i = 1; i < x.ndim(); ++i) size.inner *= i == axis ? 1 : x.shape()[i];
    size.planes = true;
    size.block_outer = 1;
    size.weight_period = num_groups;
    size.weight_step = size.outer;
    size.weight_outer_step = 1;
    return size;
}

void describe_channels(Channels& size, Geometry& geometry, const Array* arrays, int count, int axis) {
    if (size.weight_outer_step == 0) {
        geometry.set_leading(arrays, count, size.planes ? axis + 1 : axis);
    } else {
        geometry.set_channel_groups(arrays, count, axis, size.outer);
    }
    size.shape = geometry.rows;
    const std::int64_t bytes = count * size.outer * size.inner * item_size(arrays[0].element);
    const std::int64_t shared_out = std::max<std::int64_t>(size.channels / 8, 1);
    size.group =
        std::min(std::max<std::int64_t>(group_bytes / std::max<std::int64_t>(bytes, 1), 1), shared_out);
    // Packing takes neighbouring planes, a tile at a time.
    if (!geometry.all_contiguous(count)) size.group = (size.group + tile_rows - 1) / tile_rows * tile_rows;
}

bool as_channel_axis(PyObject* slot, int ndim, Axes& axes) {
    return PyLong_CheckExact(slot) && as_axes(slot, ndim, axes);
}

Axes other_axes(const Axes& axes, int ndim) {
    Axes others;
    for (int i = 0; i < ndim; ++i) {
        if (!axes.contains(i)) others.axis[others.count++] = i;
    }
    return others;
}

Reference channel_gradient_like(const Parameter& parameter, const Array& x, const Axes& axes, void*& values) {
    values = nullptr;
    if (!parameter.array) {
        Py_INCREF(Py_None);
        return Reference(Py_None);
    }
    Reference gradient = new_parameter_gradient(x, axes);
    if (gradient) values = PyArray_DATA(gradient.array());
    return gradient;
}

void clear_gradient(const Reference& gradient) {
    if (gradient.get() != Py_None)
        std::memset(PyArray_DATA(gradient.array()), 0, std::size_t(PyArray_NBYTES(gradient.array())));
}

bool run_moments(ChannelForward& task, Element element, std::size_t scratch) {
    const double work = elements(task.size);
    return run_kernel(
               kernels().channel_moments[int(element)], task, task.size.blocks(), 1,
               moments_nanoseconds * work, scratch
           ) &&
           run_kernel(
               kernels().channel_statistics[int(element)], task, task.size.channels, task.size.channels,
               0.1 * double(task.size.blocks() * task.size.columns()), 0
           );
}

bool run_channel_forward(ChannelForward& task, Element element, std::int64_t packing, bool from_x) {
    const Channels& size = task.size;
    const int e = int(element);
    const double work = elements(size), nanoseconds = (moments_nanoseconds + apply_nanoseconds) * work;
    const std::size_t scratch = std::size_t(packing + moments_scratch_bytes(size));
    if (from_x && by_groups(size, nanoseconds)) {
        return run_kernel(kernels().channel_norm_forward[e], task, groups(size), 1, nanoseconds, scratch);
    }
    Numbers partials(from_x ? 2 * size.blocks() * size.columns() : 0);
    if (!partials) return PyErr_NoMemory(), false;
    if (from_x) {
        task.partials = partials.take(2 * size.blocks() * size.columns());
        if (!run_moments(task, element, scratch)) return false;
    } else if (!run_kernel(kernels().channel_statistics[e], task, size.channels, size.channels, 0, 0)) {
        return false;
    }
    return run_kernel(
        kernels().channel_apply[e], task, size.tiles(), tiles_per_chunk(size, item_size(element)),
        apply_nanoseconds * work, std::size_t(packing)
    );
}

bool run_channel_backward(ChannelBackward& task, Element element, std::int64_t packing, bool from_x) {
    ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const int e = int(element);
    const double work = elements(size), moments_work = from_x ? moments_nanoseconds * work : 0;
    const double nanoseconds = moments_work + (sums_nanoseconds + gradient_nanoseconds) * work;
    const bool fused = task.sums && by_groups(size, nanoseconds);
    const std::size_t scratch =
        std::size_t(packing + std::max(moments_scratch_bytes(size), sums_scratch_bytes(size)));
    const std::int64_t partial = size.blocks() * size.columns();
    Numbers partials(fused ? 0 : (from_x ? 2 : 0) * partial + (task.sums ? 3 : 0) * partial);
    if (!partials) return PyErr_NoMemory(), false;
    task.recompute = fused && from_x;
    if (from_x && !fused) {
        forward.partials = partials.take(2 * partial);
        if (!run_moments(forward, element, scratch)) return false;
    } else if (!from_x) {
        if (!run_kernel(kernels().channel_statistics[e], forward, size.channels, size.channels, 0, 0))
            return false;
    }
    if (fused)
        return run_kernel(kernels().channel_norm_backward[e], task, groups(size), 1, nanoseconds, scratch);
    if (task.sums) {
        task.partials = partials.take(3 * partial);
        if (!run_kernel(kernels().channel_sums[e], task, size.blocks(), 1, sums_nanoseconds * work, scratch))
            return false;
    }
    return run_kernel(
               kernels().channel_slopes[e], task, size.channels, size.channels, 0.3 * double(partial), 0
           ) &&
           run_kernel(
               kernels().channel_gradient[e], task, size.tiles(), tiles_per_chunk(size, item_size(element)),
               gradient_nanoseconds * work, std::size_t(packing)
           );
}

}  // namespace fastnorm
