// The kernels of batch_norm, group_norm and instance_norm, as kernels.h tests them: a shape's rows are the
// outer values, its columns channels and inner values.
#include "kernels.h"

namespace {

struct Split {
    std::int64_t channels, inner;
};

// Memory for `count` numbers that a kernel computes with.
struct Numbers {
    Guarded memory;
    explicit Numbers(std::int64_t count, bool at_end) : memory(std::size_t(count) * 8, at_end) {}
    double* data() const { return reinterpret_cast<double*>(memory.data()); }
};

// An array of the shape seen as planes: rows are (outer, channel), columns inner values.
struct Planes {
    std::int64_t extent[2], outer_stride[2], inner_extent, inner_stride;

    Planes(const TestArray& array, const Shape& s, const Split& split)
        : extent{s.rows, split.channels},
          outer_stride{array.outer_stride, split.inner * array.inner_stride},
          inner_extent(split.inner),
          inner_stride(array.inner_stride) {}
    Rows rows() const { return rows_of(extent[0] * extent[1], inner_extent, *extent, inner_extent, 2); }
    Operand operand(const TestArray& array, const Shape& s) const {
        return {array.memory.data(), outer_stride, &inner_stride, s.layout == Layout::contiguous};
    }
};

// Forward and backward in separate steps and, for planes, group by group: the same bits.
Results run_channel_norm(const KernelTable& table, const Shape& s, const Split& split, bool through) {
    const std::int64_t item = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    const bool planes = split.inner >= least_plane, has_parameters = s.rows != 6;
    TestArray x(s, item), y(s, item), dy(s, item), dx(s, item);
    fill(x, s, 1);
    fill(dy, s, 2);
    Guarded weight(std::size_t(split.channels * compute), s.at_end),
        bias(std::size_t(split.channels * compute), s.at_end);
    fill_parameters(weight, s.element, split.channels, 3);
    fill_parameters(bias, s.element, split.channels, 4);
    Guarded running_mean(std::size_t(split.channels * compute), s.at_end);
    Guarded running_var(std::size_t(split.channels * compute), s.at_end);
    fill_parameters(running_mean, s.element, split.channels, 5);
    fill_parameters(running_var, s.element, split.channels, 6);
    Guarded dweight(std::size_t(split.channels * compute), s.at_end),
        dbias(std::size_t(split.channels * compute), s.at_end);

    const Planes view(x, s, split);
    Channels size = {};
    size.shape = planes ? view.rows() : rows_of(s);
    size.outer = s.rows;
    size.channels = split.channels;
    size.inner = split.inner;
    size.planes = planes;
    size.block_outer = planes ? 2 : 32;
    size.group = 3;
    size.weight_period = split.channels;
    size.weight_step = 1;
    const auto operand = [&](const TestArray& array) {
        return planes ? view.operand(array, s) : array.operand(s);
    };

    const std::int64_t partial = size.blocks() * size.columns(), columns = planes ? 0 : size.columns();
    const Numbers partials(backward_kinds(size) * partial, s.at_end), mean(size.channels, s.at_end),
        m2(size.channels, s.at_end);
    const Numbers rstd(size.channels, s.at_end), slope(size.channels, s.at_end),
        offset(size.channels, s.at_end);
    const Numbers coefficients(4 * columns, s.at_end);
    const std::int64_t scratch_bytes =
        3 * packed_bytes(size.shape, item) + std::max(moments_scratch_bytes(size), sums_scratch_bytes(size));
    const Guarded scratch(std::size_t((scratch_bytes + 63) / 64 * 64), true);

    ChannelForward forward = {};
    forward.size = size;
    forward.x = operand(x);
    forward.y = operand(y);
    forward.weight = has_parameters ? weight.data() : nullptr;
    forward.bias = has_parameters ? bias.data() : nullptr;
    forward.eps = 1e-5;
    forward.count = size.count();
    forward.partials = partials.data();
    forward.mean = mean.data();
    forward.m2 = m2.data();
    forward.rstd = rstd.data();
    forward.coefficients = columns > 0 ? coefficients.data() : nullptr;
    forward.stream = s.stream;
    if (size.count() > 1) {
        forward.running_mean = running_mean.data();
        forward.running_var = running_var.data();
        forward.momentum = 0.25;
        forward.correction = 1;
    }
    table.channel_moments[e](forward, 0, size.blocks(), scratch.data());
    table.channel_statistics[e](forward, 0, size.channels, nullptr);
    table.channel_apply[e](forward, 0, size.tiles(), scratch.data());
    Results results;
    results.outputs = {elements(y, s), running_mean.content(), running_var.content()};
    const std::int64_t groups = (size.channels + size.group - 1) / size.group;
    forward.running_mean = forward.running_var = nullptr;
    if (planes) {
        table.channel_norm_forward[e](forward, 0, groups, scratch.data());
        CHECK(elements(y, s) == results.outputs[0]);
    }

    ChannelBackward backward = {};
    backward.forward = forward;
    backward.forward.y = {nullptr, nullptr, nullptr, true};
    backward.forward.round_statistics = true;
    backward.through = through;
    backward.sums = true;
    backward.dy = operand(dy);
    backward.dx = operand(dx);
    backward.partials = partials.data();
    backward.slope = slope.data();
    backward.offset = offset.data();
    backward.coefficients = forward.coefficients;
    backward.dweight = has_parameters ? dweight.data() : nullptr;
    backward.dbias = has_parameters ? dbias.data() : nullptr;
    backward.stream = s.stream;
    backward.recompute = planes;
    if (!planes) {
        table.channel_moments[e](backward.forward, 0, size.blocks(), scratch.data());
        table.channel_statistics[e](backward.forward, 0, size.channels, nullptr);
    }
    table.channel_sums[e](backward, 0, size.blocks(), scratch.data());
    table.channel_slopes[e](backward, 0, size.channels, nullptr);
    table.channel_gradient[e](backward, 0, size.tiles(), scratch.data());
    results.outputs.push_back(elements(dx, s));
    if (has_parameters) {
        results.outputs.push_back(dweight.content());
        results.outputs.push_back(dbias.content());
    }
    if (planes) {
        table.channel_norm_backward[e](backward, 0, groups, scratch.data());
        CHECK(elements(dx, s) == results.outputs[3]);
        if (has_parameters)
            CHECK(dweight.content() == results.outputs[4] && dbias.content() == results.outputs[5]);
    }
    return results;
}

}  // namespace

int main() {
    for (const bool through : {true, false}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            if (s.rows * s.cols == 0) return Results();  // no kernel runs: see the plan's is_empty
            // One value a channel and row, a few (columns), or planes.
            const std::int64_t inner = s.cols % 2 == 1 && s.cols % 3 != 0 ? 1
                                       : s.cols % 3 == 0                  ? 3
                                       : s.cols % 17 == 0                 ? 17
                                                                          : s.cols / 2;
            return run_channel_norm(table, s, {s.cols / inner, inner}, through);
        });
    }
    return check::report();
}
