#include "plan/training_losses.h"

#include <cmath>
#include <cstring>

#include "runtime/dispatch.h"
#include "tasks/softmax.h"

namespace fastnorm {

namespace {

struct Graded {
    double value, slope;  // of losses of classification with respect to -log p
};

// A loss of classification over nll = -log p of the class.
Graded form_of(LossKind kind, double nll, double option) {
    switch (kind) {
        case LossKind::binary_poly:
            return {nll - option * std::expm1(-nll), 1 + option * std::exp(-nll)};
        case LossKind::binary_focal: {
            const double rest = -std::expm1(-nll), power = std::pow(rest, option);
            const double ratio = rest > 0 ? nll / rest : 1;  // gamma (1-p)^(gamma-1) p nll over (1-p)^gamma
            return {power * nll, power * (1 + option * std::exp(-nll) * ratio)};
        }
        default:
            return {nll, 1};
    }
}

// log(1 + exp(x)) and 1 / (1 + exp(-x)).
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double logistic(double x) {
    const double e = std::exp(-std::fabs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}

double element_at(const char* address, Element element) {
    if (element == Element::float64) {
        double value;
        std::memcpy(&value, address, 8);
        return value;
    }
    float value;
    std::memcpy(&value, address, 4);
    return double(value);
}

// l1, huber and smooth_l1 of a difference, and the slope.
Graded rounded_off(LossKind kind, double d, double option) {
    const double limit = kind == LossKind::l1 ? 0 : option, top = kind == LossKind::huber ? limit : 1;
    if (std::fabs(d) > limit) return {top * (std::fabs(d) - limit / 2), std::copysign(top, d)};
    const double slope = kind == LossKind::smooth_l1 && limit > 0 ? d / limit : d;  // also of NaN
    return {slope * d / 2, slope};
}

// A row of outputs, each a number.
template <class C>
double numbers(const TrainingLoss& loss, const char* target, const C* y, double* slopes) {
    double sum = 0;
    for (std::int64_t j = 0; j < loss.outputs; ++j) {
        const double t = element_at(target + j * loss.col_stride, loss.element), prediction = double(y[j]);
        if (loss.kind == LossKind::mse || loss.kind == LossKind::squared_error) {
            const double d = prediction - t;
            sum += d * d;
            slopes[j] = d;
        } else if (loss.kind != LossKind::poisson) {
            const Graded graded = rounded_off(loss.kind, prediction - t, loss.option);
            sum += graded.value;
            slopes[j] = graded.slope / double(loss.outputs);
        } else {
            const double expected = std::exp(prediction);
            // NaN for a negative count.
            sum += (t == 0 ? -t * prediction : t * (std::log(t) - prediction)) - t + expected;
            slopes[j] = expected - t;
        }
    }
    const double outputs = double(loss.outputs);
    if (loss.kind == LossKind::mse) {
        for (std::int64_t j = 0; j < loss.outputs; ++j) slopes[j] *= 2 / outputs;
    }
    return (loss.kind == LossKind::squared_error ? 0.5 : 1) * sum / outputs;
}

// A row of outputs, each a class of its own that applies (1) or not (0).
template <class C>
double binary(const TrainingLoss& loss, const char* target, const C* y, double* slopes) {
    const double share = loss.kind == LossKind::bce ? double(loss.outputs) : 1;
    double sum = 0;
    for (std::int64_t j = 0; j < loss.outputs; ++j) {
        const double t = element_at(target + j * loss.col_stride, loss.element), z = double(y[j]);
        double slope = 0;
        if (t != 0) {
            const Graded with = form_of(loss.kind, softplus(-z), loss.option);
            sum += t * with.value;
            slope -= t * with.slope * logistic(-z);
        }
        if (t != 1) {
            const Graded without = form_of(loss.kind, softplus(z), loss.option);
            sum += (1 - t) * without.value;
            slope += (1 - t) * without.slope * logistic(z);
        }
        slopes[j] = slope / share;
    }
    return sum / share;
}

// The row of the targets that a row of the batch has.
std::int64_t row_of(const TrainingLoss& loss, std::int64_t row) {
    return loss.order ? loss.order[row] : loss.start + row;
}

// Probabilities of a block, behind the work row of the kernel.
std::int64_t probability_elements(const TrainingLoss& loss) {
    return loss.target ? mlp_block_rows * loss.outputs : 0;
}

// Outputs one class of which is the target, or each with a probability: the kernels of the losses.
template <class C>
void add_class_losses(const TrainingLoss& loss, const OutputRows& rows, void* scratch, double& total) {
    const std::int64_t cols = loss.outputs, size = sizeof(C), row_stride = rows.step * size;
    char* const probabilities = static_cast<char*>(scratch) + work_row_bytes(cols, size);
    std::int64_t labels[mlp_block_rows];
    C weights[mlp_block_rows];
    double losses[mlp_block_rows];
    for (std::int64_t r = 0; r < rows.count; ++r) {
        const std::int64_t row = row_of(loss, rows.first + r);
        weights[r] = C(loss.sample_weight ? loss.sample_weight[row] : 1);
        if (loss.target) {
            const char* line = loss.target + row * loss.row_stride;
            for (std::int64_t j = 0; j < cols; ++j)
                std::memcpy(
                    probabilities + (r * cols + j) * size, line + j * loss.col_stride, std::size_t(size)
                );
        } else {
            labels[r] = loss.classes[row];
        }
    }
    const std::int64_t probability_stride = cols * size;
    ClassLoss task = {};
    task.shape = {rows.count, cols, 1, 1, &rows.count, &cols};
    task.logits = {static_cast<char*>(const_cast<void*>(rows.y)), &row_stride, &size, true};
    task.gradient = {static_cast<char*>(rows.dy), &row_stride, &size, true};
    task.probabilities = {probabilities, &probability_stride, &size, true};
    task.labels = loss.target ? nullptr : labels;
    task.weight_sum = double(cols);
    task.gamma = loss.kind == LossKind::focal ? loss.option : 0;
    task.epsilon = &loss.option;
    task.terms = loss.kind == LossKind::poly ? 1 : 0;
    task.dloss = weights;
    task.scale = loss.scale;
    task.losses = losses;
    const Element compute = size == 8 ? Element::float64 : Element::float32;
    kernels().class_loss[int(compute)](task, 0, rows.count, scratch);
    for (std::int64_t r = 0; r < rows.count; ++r) total += double(weights[r]) * loss.scale * losses[r];
}

template <class C>
void add_row_losses(const TrainingLoss& loss, const OutputRows& rows, void* scratch, double& total) {
    double* const slopes = static_cast<double*>(scratch);
    const bool is_binary = int(loss.kind) >= int(LossKind::binary_cross_entropy);
    for (std::int64_t r = 0; r < rows.count; ++r) {
        const std::int64_t row = row_of(loss, rows.first + r);
        const C* outputs = static_cast<const C*>(rows.y) + r * rows.step;
        C* gradient = static_cast<C*>(rows.dy) + r * rows.step;
        const char* target = loss.target + row * loss.row_stride;
        const double value =
            is_binary ? binary(loss, target, outputs, slopes) : numbers(loss, target, outputs, slopes);
        const double share = (loss.sample_weight ? loss.sample_weight[row] : 1) * loss.scale;
        for (std::int64_t j = 0; j < loss.outputs; ++j) gradient[j] = C(share * slopes[j]);
        total += share * value;
    }
}

template <class C>
void add_loss_as(const TrainingLoss& loss, const OutputRows& rows, void* scratch, double& total) {
    if (is_over_classes(loss.kind)) return add_class_losses<C>(loss, rows, scratch, total);
    add_row_losses<C>(loss, rows, scratch, total);
}

}  // namespace

std::int64_t loss_scratch_bytes(const TrainingLoss& loss, std::int64_t compute_size) {
    const std::int64_t bytes = is_over_classes(loss.kind) ? work_row_bytes(loss.outputs, compute_size) +
                                                                probability_elements(loss) * compute_size
                                                          : loss.outputs * std::int64_t(sizeof(double));
    return (bytes + 63) / 64 * 64;
}

void add_loss(
    const TrainingLoss& loss, std::int64_t compute_size, const OutputRows& rows, void* scratch, double& total
) noexcept {
    if (compute_size == 8) return add_loss_as<double>(loss, rows, scratch, total);
    add_loss_as<float>(loss, rows, scratch, total);
}

}  // namespace fastnorm
