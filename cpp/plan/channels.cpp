#include "plan/channels.h"

#include <algorithm>

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, by which the number of threads is chosen: measured in cache, float32.
constexpr double moments_cost = 0.1;
constexpr double apply_cost = 0.1;
constexpr double sums_cost = 0.15;
constexpr double gradient_cost = 0.15;
// For a partial sum: merging moments, and finding slopes and offsets.
constexpr double merge_cost = 0.1;
constexpr double slopes_cost = 0.3;

// What the channels of a group of planes may take, x and y (or dy, x and dx) together: what is read twice is
// then in the first-level cache or just out of it. (8, 256, 28, 28), one core of Zen 4, backward:
// instance_norm 457 us, 476 with groups of 512 KiB, on two cores 254 and 330; the forwards do not mind.
constexpr std::int64_t group_bytes = 64 << 10;

// Blocks of planes that are merged: enough to share out, few enough to keep.
constexpr std::int64_t most_blocks = 128;

// Groups that take less, with all their planes, are not worth the loops around them.
constexpr std::int64_t least_group_bytes = 16 << 10;

// Whether there are groups enough for the threads; else the planes are shared out, in three steps.
bool by_groups(const Channels& size, double nanoseconds) {
    if (!size.planes) return false;
    const int threads = worthwhile_threads(nanoseconds / 1000);
    return threads == 1 || (size.channels + size.group - 1) / size.group >= 2 * threads;
}

double elements(const Channels& size) { return size.count() * double(size.channels); }

std::int64_t groups(const Channels& size) { return (size.channels + size.group - 1) / size.group; }

// The steps between two runs over the elements: a few numbers a channel.
Work in_one_chunk(const Channels& size, double nanoseconds) {
    return {size.channels, size.channels, nanoseconds, 0};
}

// Tiles of 16 KiB at least.
std::int64_t tiles_per_chunk(const Channels& size, std::int64_t item) {
    return rows_per_chunk(size.shape, item) / tile_rows + 1;
}

}  // namespace

Channels channels_of(const View& x, int first, int last) {
    Channels size = {};
    size.outer = size.channels = size.inner = 1;
    for (int i = 0; i < x.ndim; ++i)
        (i < first ? size.outer : i < last ? size.channels : size.inner) *= x.shape[i];
    size.planes = size.inner >= least_plane;
    size.block_outer = size.planes ? std::max<std::int64_t>((size.outer + most_blocks - 1) / most_blocks, 1)
                                   : rows_per_block(size.outer);
    size.weight_period = std::max<std::int64_t>(size.channels, 1);
    size.weight_step = 1;
    return size;
}

Channels groups_of(const View& x, int axis, std::int64_t num_groups) {
    Channels size = {};
    size.outer = x.shape[axis] / num_groups;
    size.channels = num_groups * (axis == 0 ? 1 : x.shape[0]);
    size.inner = 1;
    for (int i = 1; i < x.ndim; ++i) size.inner *= i == axis ? 1 : x.shape[i];
    size.planes = true;
    size.block_outer = 1;
    size.weight_period = num_groups;
    size.weight_step = size.outer;
    size.weight_outer_step = 1;
    return size;
}

void describe_channels(Channels& size, Geometry& geometry, const View* const* arrays, int count, int axis) {
    if (!size.grouped()) {
        geometry.set_leading(arrays, count, size.planes ? axis + 1 : axis);
    } else {
        geometry.set_channel_groups(arrays, count, axis, size.outer);
    }
    size.shape = geometry.rows;
    const std::int64_t channel_bytes = count * size.outer * size.inner * item_size(arrays[0]->element);
    const auto in_group = [&](std::int64_t bytes) {
        const std::int64_t channels = bytes / std::max<std::int64_t>(channel_bytes, 1);
        return std::max<std::int64_t>(std::min(channels, size.channels), 1);
    };
    const std::int64_t shared_out = std::max(size.channels / 8, in_group(least_group_bytes));
    size.group = std::min(in_group(group_bytes), shared_out);
    // Packing takes neighbouring planes, a tile at a time.
    if (!geometry.all_contiguous(count)) {
        const std::int64_t planes = size.grouped() ? std::max<std::int64_t>(size.outer, 1) : 1;
        const std::int64_t tiles = (size.group * planes + tile_rows - 1) / tile_rows;
        size.group = std::max(size.group, tiles * tile_rows / planes);
    }
}

std::int64_t forward_numbers(const Channels& size) {
    return 3 * size.channels + (size.planes ? 0 : 3 * size.columns());
}

void place_numbers(ChannelForward& task, Numbers& numbers) {
    const Channels& size = task.size;
    task.mean = numbers.take(size.channels);
    task.m2 = numbers.take(size.channels);
    task.rstd = numbers.take(size.channels);
    task.coefficients = size.planes ? nullptr : numbers.take(3 * size.columns());
}

std::int64_t backward_numbers(const Channels& size) {
    return 5 * size.channels + (size.planes ? 0 : 4 * size.columns());
}

void place_numbers(ChannelBackward& task, Numbers& numbers) {
    ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    forward.mean = numbers.take(size.channels);
    forward.m2 = numbers.take(size.channels);
    forward.rstd = numbers.take(size.channels);
    task.slope = numbers.take(size.channels);
    task.offset = numbers.take(size.channels);
    task.coefficients = forward.coefficients = size.planes ? nullptr : numbers.take(4 * size.columns());
}

double moments_nanoseconds(const Channels& size) { return moments_cost * elements(size); }

double channel_forward_nanoseconds(const Channels& size, bool from_x) {
    return ((from_x ? moments_cost : 0) + apply_cost) * elements(size);
}

double channel_backward_nanoseconds(const Channels& size, bool from_x) {
    return ((from_x && !size.planes ? moments_cost : 0) + sums_cost + gradient_cost) * elements(size);
}

namespace {

// mean and m2 of each channel from x, merged.
bool find_moments(ChannelForward& task, Element element, std::int64_t scratch_bytes) noexcept {
    const Channels& size = task.size;
    return run(kernels().channel_moments[int(element)], task,
               {size.blocks(), 1, moments_cost * elements(size), scratch_bytes}) &&
           run(kernels().channel_statistics[int(element)], task,
               in_one_chunk(size, merge_cost * double(size.blocks() * size.columns())));
}

}  // namespace

bool run_moments(const View& x, int first, int last, double* mean, double* m2) noexcept {
    ChannelForward task = {};
    Channels& size = task.size = channels_of(x, first, last);
    task.mean = mean;
    task.m2 = m2;
    if (x.size() == 0) {
        std::fill(mean, mean + size.channels, 0.0);
        std::fill(m2, m2 + size.channels, 0.0);
        return true;
    }
    Geometry geometry;
    const View* const view = &x;
    geometry.set_leading(&view, 1, size.planes ? last : first);
    size.shape = geometry.rows;
    task.x = geometry.operands[0];
    task.y = no_result;
    Numbers partials(2 * size.blocks() * size.columns());
    if (!partials) return false;
    task.partials = partials.take(2 * size.blocks() * size.columns());
    const std::int64_t sums = size.columns() * std::int64_t(sizeof(double));
    return find_moments(task, x.element, packing_bytes(geometry, 1, item_size(x.element)) + sums);
}

bool run_statistics(ChannelForward& task, Element element) noexcept {
    return run(kernels().channel_statistics[int(element)], task, in_one_chunk(task.size, 0));
}

bool run_channel_forward(ChannelForward& task, Element element, std::int64_t packing, bool from_x) noexcept {
    const Channels& size = task.size;
    const int e = int(element);
    const double nanoseconds = channel_forward_nanoseconds(size, from_x);
    const std::int64_t scratch = packing + moments_scratch_bytes(size);
    if (from_x && by_groups(size, nanoseconds)) {
        return run(kernels().channel_norm_forward[e], task, {groups(size), 1, nanoseconds, scratch});
    }
    const std::int64_t partial = from_x ? 2 * size.blocks() * size.columns() : 0;
    Numbers partials(partial);
    if (!partials) return false;
    if (from_x) {
        task.partials = partials.take(partial);
        if (!find_moments(task, element, scratch)) return false;
    } else if (!run_statistics(task, element)) {
        return false;
    }
    return run(
        kernels().channel_apply[e], task,
        {size.tiles(), tiles_per_chunk(size, item_size(element)), apply_cost * elements(size), packing}
    );
}

bool run_channel_backward(
    ChannelBackward& task, Element element, std::int64_t packing, bool from_x
) noexcept {
    ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const int e = int(element);
    const double nanoseconds = channel_backward_nanoseconds(size, from_x);
    const bool fused = task.sums && by_groups(size, nanoseconds);
    const std::int64_t scratch = packing + std::max(moments_scratch_bytes(size), sums_scratch_bytes(size));
    const std::int64_t partial = size.blocks() * size.columns();
    const bool moments_first = from_x && !size.planes;
    const int sums_kinds = task.sums && !fused ? backward_kinds(size) : 0;
    Numbers partials((moments_first ? 2 + sums_kinds : sums_kinds) * partial);
    if (!partials) return false;
    task.recompute = from_x && size.planes;
    if (moments_first) {
        forward.partials = partials.take(2 * partial);
        if (!find_moments(forward, element, scratch)) return false;
    } else if (!from_x) {
        if (!run_statistics(forward, element)) return false;
    }
    if (fused) return run(kernels().channel_norm_backward[e], task, {groups(size), 1, nanoseconds, scratch});
    if (task.sums) {
        task.partials = partials.take(sums_kinds * partial);
        const Work sums{size.blocks(), 1, sums_cost * elements(size), scratch};
        if (!run(kernels().channel_sums[e], task, sums)) return false;
    }
    return run(kernels().channel_slopes[e], task, in_one_chunk(size, slopes_cost * double(partial))) &&
           run(kernels().channel_gradient[e], task,
               {size.tiles(), tiles_per_chunk(size, item_size(element)), gradient_cost * elements(size),
                packing});
}

namespace {

template <class S>
void sum_samples_as(const Channels& size, const double* shares, S* sums) {
    const std::int64_t num_groups = size.weight_period, samples = size.channels / num_groups;
    for (std::int64_t place = 0; place < size.outer; ++place) {
        for (std::int64_t group = 0; group < num_groups; ++group) {
            double total = 0;
            for (std::int64_t n = 0; n < samples; ++n)
                total += shares[(place * samples + n) * num_groups + group];
            sums[group * size.outer + place] = S(total);
        }
    }
}

}  // namespace

void sum_samples(const Channels& size, const double* shares, Element compute, void* sums) {
    if (compute == Element::float64) return sum_samples_as(size, shares, static_cast<double*>(sums));
    sum_samples_as(size, shares, static_cast<float*>(sums));
}

}  // namespace fastnorm
