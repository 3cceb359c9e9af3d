// batch_norm, group_norm, instance_norm and moments: from arrays to (outer, channels, inner) values.
#include <cmath>
#include <cstring>

#include "bindings/elementwise.h"
#include "bindings/module.h"
#include "bindings/norms.h"
#include "runtime/dispatch.h"
#include "tasks/channel_norms.h"

namespace fastnorm {

namespace {

// One thread's time for an element, by which the number of threads is chosen: measured in cache, float32.
constexpr double moments_nanoseconds = 0.1;
constexpr double apply_nanoseconds = 0.1;
constexpr double sums_nanoseconds = 0.15;
constexpr double gradient_nanoseconds = 0.15;

// What the channels of a group of planes may take of the second-level cache, x and y (or dy, x and dx) together.
constexpr std::int64_t group_bytes = 512 << 10;

// Blocks of planes that are merged: enough to share out, few enough to keep.
constexpr std::int64_t most_blocks = 128;

// Memory for intermediate sums, as numbers one after another.
class Numbers {
public:
    explicit Numbers(std::int64_t count) : buffer_(std::size_t(count) * sizeof(double)) {}

    explicit operator bool() const { return bool(buffer_); }
    double* take(std::int64_t count) {
        double* const taken = static_cast<double*>(buffer_.data()) + used_;
        used_ += count;
        return taken;
    }

private:
    Buffer buffer_;
    std::int64_t used_ = 0;
};

// ---- shapes --------------------------------------------------------------------------------------------------------

// Axes [first, last) are the channels; what is before and after them is averaged over.
Channels channels_of(const Array& x, int first, int last) {
    Channels size = {};
    size.outer = size.channels = size.inner = 1;
    for (int i = 0; i < x.ndim(); ++i) (i < first ? size.outer : i < last ? size.channels : size.inner) *= x.shape()[i];
    size.planes = size.inner >= least_plane;
    size.block_outer = size.planes ? std::max<std::int64_t>((size.outer + most_blocks - 1) / most_blocks, 1)
                                   : rows_per_block(size.outer);
    size.weight_period = std::max<std::int64_t>(size.channels, 1);
    size.weight_step = 1;
    return size;
}

// group_norm: the channels of a group are averaged over, each with its weight; the channels here are (sample, group).
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

// Completes the shape with the arrays' places in memory.
void describe_channels(Channels& size, Geometry& geometry, const Array* arrays, int count, int axis) {
    if (size.weight_outer_step == 0) {
        geometry.set_leading(arrays, count, size.planes ? axis + 1 : axis);
    } else {
        geometry.set_channel_groups(arrays, count, axis, size.outer);
    }
    size.shape = geometry.rows;
    const std::int64_t bytes = count * size.outer * size.inner * item_size(arrays[0].element);
    const std::int64_t shared_out = std::max<std::int64_t>(size.channels / 8, 1);
    size.group = std::min(std::max<std::int64_t>(group_bytes / std::max<std::int64_t>(bytes, 1), 1), shared_out);
    // Packing takes neighbouring planes, a tile at a time.
    if (!geometry.all_contiguous(count)) size.group = (size.group + tile_rows - 1) / tile_rows * tile_rows;
}

// Whether there are groups enough for the threads; else the planes are shared out, in three steps.
bool by_groups(const Channels& size, double nanoseconds) {
    return size.planes && (size.channels + size.group - 1) / size.group >= 2 * worthwhile_threads(nanoseconds / 1000);
}

// y where only statistics are wanted: nothing to fetch, nothing to pack.
constexpr Operand no_result{nullptr, nullptr, nullptr, true};

double elements(const Channels& size) { return size.count() * double(size.channels); }

std::int64_t groups(const Channels& size) { return (size.channels + size.group - 1) / size.group; }

// Tiles of 16 KiB at least.
std::int64_t tiles_per_chunk(const Channels& size, std::int64_t item) {
    return rows_per_chunk(size.shape, item) / tile_rows + 1;
}

// ---- arguments -----------------------------------------------------------------------------------------------------

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
    stats.canonical = is_given_statistic(stats.mean, x, channels) && is_given_statistic(stats.rstd, x, channels);
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
            if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(slots[k]), parameters[k]->array.array()) < 0)
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

// ---- forward -------------------------------------------------------------------------------------------------------

// mean and m2 of each channel from x, merged.
bool run_moments(ChannelForward& task, Element element, std::size_t scratch) {
    const double work = elements(task.size);
    return run_kernel(
               kernels().channel_moments[int(element)], task, task.size.blocks(), 1, moments_nanoseconds * work, scratch
           ) &&
           run_kernel(
               kernels().channel_statistics[int(element)], task, task.size.channels, task.size.channels,
               0.1 * double(task.size.blocks() * task.size.columns()), 0
           );
}

// y from the statistics: of x itself, merged from it first, or given in task.mean and task.rstd.
bool run_forward(ChannelForward& task, Element element, std::int64_t packing, bool from_x) {
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

Outcome run_batch_norm(const Call& call) {
    enum {
        x_slot,
        weight_slot,
        bias_slot,
        mean_slot,
        var_slot,
        training_slot,
        momentum_slot,
        correction_slot,
        eps_slot,
        axis_slot,
        stats_slot,
        return_stats_slot,
        out_slot
    };
    const std::optional<Array> x = as_array(call[x_slot]);
    Axes axes;
    if (!x || !as_channel_axis(call[axis_slot], x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call[training_slot]), return_stats = as_flag(call[return_stats_slot]);
    const std::optional<double> momentum = as_number(call[momentum_slot], 0), eps = as_number(call[eps_slot], 0);
    const std::optional<double> correction = as_correction(call[correction_slot]);
    if (!training || !return_stats || !momentum || *momentum > 1 || !eps || !correction) return not_canonical;
    Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Parameter weight = as_parameter(call[weight_slot], *x, axes), bias = as_parameter(call[bias_slot], *x, axes);
    const GivenStatistics stats = as_given_statistics(call[stats_slot], *x, size.channels);
    const Running running = as_running(call[mean_slot], call[var_slot], *x, axes);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical()) return not_canonical;
    if (weight.failed || bias.failed || running.failed()) return finished(nullptr);
    const bool from_x = !stats.given() && (*training || !running.given());
    const bool update = from_x && running.given() && x->size() > 0;
    if (*training && from_x && size.count() == 1) return not_canonical;
    const std::initializer_list<PyObject*> arrays_given = {call[x_slot],    call[weight_slot], call[bias_slot],
                                                           call[mean_slot], call[var_slot],    call[out_slot]};
    if (*training && running.given() && !can_update(running, arrays_given, call.checked())) return not_canonical;
    Result y = result_like(
        *x, call, out_slot, {call[x_slot], call[weight_slot], call[bias_slot], call[mean_slot], call[var_slot]}
    );
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
        if (!run_forward(task, x->element, packing_bytes(geometry, 2, item), from_x)) return finished(nullptr);
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

// ---- backward ------------------------------------------------------------------------------------------------------

// dx and the sums that the task asks for. from_x: the statistics are computed first.
bool run_backward(ChannelBackward& task, Element element, std::int64_t packing, bool from_x) {
    ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const int e = int(element);
    const double work = elements(size), moments_work = from_x ? moments_nanoseconds * work : 0;
    const double nanoseconds = moments_work + (sums_nanoseconds + gradient_nanoseconds) * work;
    const bool fused = task.sums && by_groups(size, nanoseconds);
    const std::size_t scratch = std::size_t(packing + std::max(moments_scratch_bytes(size), sums_scratch_bytes(size)));
    const std::int64_t partial = size.blocks() * size.columns();
    Numbers partials(fused ? 0 : (from_x ? 2 : 0) * partial + (task.sums ? 3 : 0) * partial);
    if (!partials) return PyErr_NoMemory(), false;
    task.recompute = fused && from_x;
    if (from_x && !fused) {
        forward.partials = partials.take(2 * partial);
        if (!run_moments(forward, element, scratch)) return false;
    } else if (!from_x) {
        if (!run_kernel(kernels().channel_statistics[e], forward, size.channels, size.channels, 0, 0)) return false;
    }
    if (fused) return run_kernel(kernels().channel_norm_backward[e], task, groups(size), 1, nanoseconds, scratch);
    if (task.sums) {
        task.partials = partials.take(3 * partial);
        if (!run_kernel(kernels().channel_sums[e], task, size.blocks(), 1, sums_nanoseconds * work, scratch))
            return false;
    }
    return run_kernel(kernels().channel_slopes[e], task, size.channels, size.channels, 0.3 * double(partial), 0) &&
           run_kernel(
               kernels().channel_gradient[e], task, size.tiles(), tiles_per_chunk(size, item_size(element)),
               gradient_nanoseconds * work, std::size_t(packing)
           );
}

// A new gradient of a parameter, None where it was not given; `values` its memory. Empty with an error set where there
// is none.
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

void clear(const Reference& gradient) {
    if (gradient.get() != Py_None)
        std::memset(PyArray_DATA(gradient.array()), 0, std::size_t(PyArray_NBYTES(gradient.array())));
}

Outcome run_batch_norm_backward(const Call& call) {
    enum {
        dy_slot,
        x_slot,
        weight_slot,
        bias_slot,
        mean_slot,
        var_slot,
        training_slot,
        eps_slot,
        axis_slot,
        stats_slot
    };
    const std::optional<Array> dy = as_array(call[dy_slot]), x = as_array(call[x_slot]);
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!as_channel_axis(call[axis_slot], x->ndim(), axes)) return not_canonical;
    const std::optional<bool> training = as_flag(call[training_slot]);
    const std::optional<double> eps = as_number(call[eps_slot], 0);
    if (!training || !eps) return not_canonical;
    Channels size = channels_of(*x, axes.axis[0], axes.axis[0] + 1);
    const Parameter weight = as_parameter(call[weight_slot], *x, axes), bias = as_parameter(call[bias_slot], *x, axes);
    const GivenStatistics stats = as_given_statistics(call[stats_slot], *x, size.channels);
    const Running running = as_running(call[mean_slot], call[var_slot], *x, axes);
    if (!weight.canonical || !bias.canonical || !stats.canonical || !running.canonical()) return not_canonical;
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
        clear(dweight);
        clear(dbias);
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
    if (!run_backward(task, x->element, packing_bytes(geometry, 3, item_size(x->element)), from_x))
        return finished(nullptr);
    return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
}

// ---- group_norm and instance_norm ----------------------------------------------------------------------------------

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
    if (!run_forward(task, x->element, packing_bytes(geometry, 2, item_size(x->element)), true))
        return finished(nullptr);
    return finished(y.object.release());
}

struct GroupBackward {
    PyObject *dy, *x, *num_groups, *weight, *bias, *eps, *axis;
};

// The gradients of the parameters from the shares of the planes, which are (place in the group, sample, group).
template <class S>
void sum_samples(const Channels& size, const double* shares, void* sums) {
    const std::int64_t num_groups = size.weight_period, samples = size.channels / num_groups;
    for (std::int64_t place = 0; place < size.outer; ++place) {
        for (std::int64_t group = 0; group < num_groups; ++group) {
            double total = 0;
            for (std::int64_t n = 0; n < samples; ++n) total += shares[(place * samples + n) * num_groups + group];
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
        clear(dweight);
        clear(dbias);
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
    if (!run_backward(task, x->element, packing_bytes(geometry, 3, item_size(x->element)), true))
        return finished(nullptr);
    const double* const shares[2] = {task.plane_dweight, task.plane_dbias};
    for (int k = 0; k < 2; ++k) {
        if (!gradients[k]) continue;
        (x->element == Element::float64 ? sum_samples<double> : sum_samples<float>)(size, shares[k], gradients[k]);
    }
    return finished(PyTuple_Pack(3, dx.get(), dweight.get(), dbias.get()));
}

// ---- moments -------------------------------------------------------------------------------------------------------

// A new float64 array of x's shape along axes [first, last).
Reference new_moment(const Array& x, int first, int last) {
    return new_array(last - first, x.shape() + first, NPY_DOUBLE);
}

Outcome moments_of(const Call& call) {
    const std::optional<Array> x = as_array(call[0]);
    Axes axes;
    if (!x || !as_axes(call[1], x->ndim(), axes)) return not_canonical;
    const Axes kept = other_axes(axes, x->ndim());
    // The kept axes are the channels, which have to be neighbours. With none the first axis is summed by rows.
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
    return finished(PyTuple_Pack(3, count.get(), mean.get(), m2.get()));
}

// ---- the Python functions ------------------------------------------------------------------------------------------

PyObject* batch_norm(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "batch_norm", 5,
        {{"x", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"running_mean", Py_None},
         {"running_var", Py_None},
         {"training", Py_False},
         {"momentum", PyFloat_FromDouble(0.1)},
         {"running_correction", PyLong_FromLong(1)},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)},
         {"stats", Py_None},
         {"return_stats", Py_False},
         {"out", Py_None}}
    );
    return call_op(signature, run_batch_norm, args, nargs, kwnames);
}

PyObject* batch_norm_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "batch_norm_backward", 6,
        {{"dy", nullptr},
         {"x", nullptr},
         {"weight", Py_None},
         {"bias", Py_None},
         {"running_mean", Py_None},
         {"running_var", Py_None},
         {"training", Py_False},
         {"eps", PyFloat_FromDouble(1e-5)},
         {"axis", PyLong_FromLong(1)},
         {"stats", Py_None}}
    );
    return call_op(signature, run_batch_norm_backward, args, nargs, kwnames);
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

PyObject* moments(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature("moments", 2, {{"x", nullptr}, {"axis", Py_None}});
    return call_op(signature, moments_of, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef channel_norm_methods[] = {
    FASTNORM_METHOD(
        batch_norm,
        "x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, momentum=0.1, "
        "running_correction=1, eps=1e-05, axis=1, stats=None, return_stats=False, out=None"
    ),
    FASTNORM_METHOD(
        batch_norm_backward,
        "dy, x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, eps=1e-05, axis=1, "
        "stats=None"
    ),
    FASTNORM_METHOD(group_norm, "x, num_groups, weight=None, bias=None, *, eps=1e-05, axis=1, out=None"),
    FASTNORM_METHOD(group_norm_backward, "dy, x, num_groups, weight=None, bias=None, *, eps=1e-05, axis=1"),
    FASTNORM_METHOD(instance_norm, "x, weight=None, bias=None, *, eps=1e-05, axis=1, out=None"),
    FASTNORM_METHOD(instance_norm_backward, "dy, x, weight=None, bias=None, *, eps=1e-05, axis=1"),
    FASTNORM_METHOD(moments, "x, axis=None"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
