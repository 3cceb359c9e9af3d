#include "plan/class_losses.h"

#include <cmath>

#include "tasks/softmax.h"

namespace fastnorm {

namespace {

// One thread's time for an element of float32 in cache; float64 takes about four times as long.
constexpr double element_nanoseconds = 0.45;
// Of nll_loss, for a row, and for an element of the gradient.
constexpr double label_nanoseconds = 2, zero_nanoseconds = 0.05;

double number_at(const void* numbers, Element element, std::int64_t i) {
    return element == Element::float64 ? static_cast<const double*>(numbers)[i]
                                       : double(static_cast<const float*>(numbers)[i]);
}

}  // namespace

Work plan_class_loss(
    ClassLoss& task, Geometry& geometry, const View& logits, const View* gradient, const View* probabilities,
    const Axes& axis, bool warm
) {
    const View* const arrays[] = {
        &logits, gradient ? gradient : &logits, probabilities ? probabilities : &logits
    };
    geometry.set_norm(arrays, 3, axis);
    const Rows& rows = task.shape = geometry.rows;
    task.logits = geometry.operands[0];
    task.gradient = geometry.operands[1];
    task.probabilities = geometry.operands[2];
    if (!gradient) task.gradient.data = nullptr;
    task.stream = gradient && warm && 2 * logits.bytes() > stream_bytes && task.gradient.contiguous;
    const Element compute = compute_element(logits.element);
    const std::int64_t size = item_size(logits.element);
    return {
        rows.rows, rows_per_chunk(rows, size),
        element_nanoseconds * (compute == Element::float64 ? 4 : 1) * double(rows.rows * rows.cols),
        work_row_bytes(rows.cols, item_size(compute)) + packing_bytes(geometry, 3, size)
    };
}

Work plan_nll_loss(
    ClassLoss& task, Geometry& geometry, const View& log_probabilities, const View* gradient,
    const Axes& axis, bool warm
) {
    Work work = plan_class_loss(task, geometry, log_probabilities, gradient, nullptr, axis, warm);
    const Rows& rows = task.shape;
    work.nanoseconds = label_nanoseconds * double(rows.rows);
    if (gradient) work.nanoseconds += zero_nanoseconds * double(rows.rows * rows.cols);
    return work;
}

double weight_of_rows(
    const std::int64_t* labels, std::int64_t rows, const void* weight, std::int64_t classes, Element compute
) {
    double total = 0;
    bool counts = false;
    for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t label = read_once(labels[i]);
        if (std::uint64_t(label) >= std::uint64_t(classes)) continue;
        const double share = weight ? number_at(weight, compute, label) : 1;
        counts = counts || share != 0;
        total += share;
    }
    return counts ? total : std::nan("");
}

double weight_of_classes(const void* weight, std::int64_t classes, Element compute) {
    if (!weight) return double(classes);
    double total = 0;
    for (std::int64_t j = 0; j < classes; ++j) total += number_at(weight, compute, j);
    return total;
}

double sum_of(const double* losses, std::int64_t count) {
    double lanes[8] = {};
    for (std::int64_t i = 0; i < count; ++i) lanes[i % 8] += losses[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

}  // namespace fastnorm
