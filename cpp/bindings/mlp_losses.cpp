#include "bindings/mlp_losses.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/dispatch.h"
#include "tasks/softmax.h"

namespace fastnorm {

namespace {

struct Graded {
    double value, slope;  // the slope with respect to -log p
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

// A row of outputs, each a number.
template <class C>
double numbers(const LossContext& loss, const char* target, const C* y, double* slopes) {
    double sum = 0;
    for (std::int64_t j = 0; j < loss.outputs; ++j) {
        const double t = element_at(target + j * loss.col_stride, loss.element), prediction = double(y[j]);
        if (loss.kind == LossKind::mse || loss.kind == LossKind::squared_error) {
            const double d = prediction - t;
            sum += d * d;
            slopes[j] = d;
        } else {  // poisson
            const double expected = std::exp(prediction);
            sum += (t > 0 ? t * (std::log(t) - prediction) : -t * prediction) - t + expected;
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
double binary(const LossContext& loss, const char* target, const C* y, double* slopes) {
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
        slopes[j] = slope;
    }
    return sum;
}

// Where in x and the targets a row of the batch lies.
std::int64_t row_of(const LossContext& loss, std::int64_t row) {
    return loss.order ? loss.order[row] : loss.start + row;
}

// Outputs one class of which is the target, or each with a probability: the kernels of the losses.
template <class C>
void grade_classes(
    const LossContext& loss, std::int64_t first, std::int64_t rows, std::int64_t step, const C* y, C* dy,
    double* total
) {
    const std::int64_t cols = loss.outputs, size = sizeof(C), row_stride = step * size;
    constexpr std::int64_t few = 64;
    const std::int64_t work_elements = work_row_bytes(cols, size) / size;
    C inside[(1 + mlp_block_rows) * few];
    std::vector<C> outside(std::size_t(cols > few ? work_elements + rows * cols : 0));
    C* const work = cols > few ? outside.data() : inside;
    C* const probabilities = work + work_elements;
    std::int64_t labels[mlp_block_rows];
    C weights[mlp_block_rows];
    double losses[mlp_block_rows];
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = row_of(loss, first + r);
        weights[r] = C(loss.sample_weight ? loss.sample_weight[row] : 1);
        if (loss.target) {
            const char* line = loss.target + row * loss.row_stride;
            for (std::int64_t j = 0; j < cols; ++j)
                std::memcpy(probabilities + r * cols + j, line + j * loss.col_stride, std::size_t(size));
        } else {
            labels[r] = loss.classes[row];
        }
    }
    const std::int64_t probability_stride = cols * size;
    ClassLoss task = {};
    task.shape = {rows, cols, 1, 1, &rows, &cols};
    task.logits = {reinterpret_cast<char*>(const_cast<C*>(y)), &row_stride, &size, true};
    task.gradient = {reinterpret_cast<char*>(dy), &row_stride, &size, true};
    task.probabilities = {reinterpret_cast<char*>(probabilities), &probability_stride, &size, true};
    task.labels = loss.target ? nullptr : labels;
    task.weight_sum = double(cols);
    task.gamma = loss.kind == LossKind::focal ? loss.option : 0;
    task.epsilon = &loss.option;
    task.terms = loss.kind == LossKind::poly ? 1 : 0;
    task.dloss = weights;
    task.scale = loss.scale;
    task.losses = losses;
    kernels().class_loss[int(sizeof(C) == 8 ? Element::float64 : Element::float32)](task, 0, rows, work);
    for (std::int64_t r = 0; r < rows; ++r) *total += double(weights[r]) * loss.scale * losses[r];
}

template <class C>
void grade_rows(
    const void* context, std::int64_t first, std::int64_t rows, std::int64_t step, const void* y, void* dy,
    double* total
) {
    const LossContext& loss = *static_cast<const LossContext*>(context);
    if (is_over_classes(loss.kind)) {
        return grade_classes(loss, first, rows, step, static_cast<const C*>(y), static_cast<C*>(dy), total);
    }
    constexpr std::int64_t few = 64;
    double inside[few];
    std::vector<double> outside(std::size_t(loss.outputs > few ? loss.outputs : 0));
    double* slopes = loss.outputs > few ? outside.data() : inside;
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = row_of(loss, first + r);
        const C* outputs = static_cast<const C*>(y) + r * step;
        C* gradient = static_cast<C*>(dy) + r * step;
        const char* target = loss.target + row * loss.row_stride;
        const bool is_binary = int(loss.kind) >= int(LossKind::binary_cross_entropy);
        const double value =
            is_binary ? binary(loss, target, outputs, slopes) : numbers(loss, target, outputs, slopes);
        const double share = (loss.sample_weight ? loss.sample_weight[row] : 1) * loss.scale;
        for (std::int64_t j = 0; j < loss.outputs; ++j) gradient[j] = C(share * slopes[j]);
        *total += share * value;
    }
}

}  // namespace

MlpLoss loss_function(Element compute) {
    return compute == Element::float64 ? grade_rows<double> : grade_rows<float>;
}

}  // namespace fastnorm
