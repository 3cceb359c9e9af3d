#include "plan/regularisers.h"

#include <cmath>

namespace fastnorm {

namespace {

// One thread's time for an element of float32 in cache.
constexpr double dropout_nanoseconds = 0.2;

}  // namespace

std::int64_t dropped_levels(double p) { return std::int64_t(std::nearbyint(p * double(dropout_levels))); }

double dropout_scale(std::int64_t dropped) {
    return double(dropout_levels) / double(dropout_levels - dropped);
}

Work plan_dropout(Dropout& task, Geometry& geometry, const View& x, const View& y, double p, bool warm) {
    const View* const arrays[] = {&x, &y};
    geometry.set_leading(arrays, 2, 0);
    task.shape = geometry.rows;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.dropped = dropped_levels(p);
    task.scale = dropout_scale(task.dropped);
    task.stream = warm && 2 * x.bytes() > stream_bytes && x.data != y.data && task.y.contiguous &&
                  reinterpret_cast<std::uintptr_t>(y.data) % 64 == 0;
    Work work;
    work.units = (task.shape.cols + dropout_group - 1) / dropout_group;
    work.units_per_chunk = 16;
    work.nanoseconds = dropout_nanoseconds * double(task.shape.cols);
    if (!task.x.contiguous || !task.y.contiguous)
        work.scratch_bytes = 2 * dropout_group * item_size(x.element);
    return work;
}

}  // namespace fastnorm
