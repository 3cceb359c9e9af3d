#include "bindings/mlp_losses.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace fastnorm {

namespace {

struct Graded {
    double value, slope;  // the slope with respect to -log p
};

// A loss of classification over nll = -log p of the class.
Graded form_of(LossKind kind, double nll, double option) {
    switch (kind) {
        case LossKind::poly:
        case LossKind::binary_poly:
            return {nll - option * std::expm1(-nll), 1 + option * std::exp(-nll)};
        case LossKind::focal:
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

// A row of outputs, one class of which is the target, or each with a probability.
template <class C>
double categorical(const LossContext& loss, const char* target, std::int64_t row, const C* y, double* slopes) {
    const std::int64_t outputs = loss.outputs;
    double largest = -HUGE_VAL;
    for (std::int64_t j = 0; j < outputs; ++j)
        largest = double(y[j]) > largest || y[j] != y[j] ? double(y[j]) : largest;
    double total = 0;
    for (std::int64_t j = 0; j < outputs; ++j) total += slopes[j] = std::exp(double(y[j]) - largest);
    if (!target) {
        const std::int64_t wanted = loss.classes[row];
        // The others' share of the sum, for full relative accuracy where p is near 1.
        double others = 0;
        for (std::int64_t j = 0; j < outputs; ++j) others += j == wanted ? 0 : slopes[j];
        const double own = slopes[wanted];
        const double nll = own > others ? std::log1p(others / own) : std::log(total) + largest - double(y[wanted]);
        const Graded graded = form_of(loss.kind, nll, loss.option);
        for (std::int64_t j = 0; j < outputs; ++j) slopes[j] *= graded.slope / total;
        slopes[wanted] = -graded.slope * (others / total);
        return graded.value;
    }
    const double log_total = std::log(total) + largest;
    double value = 0, weight = 0, agreement = 0;
    for (std::int64_t j = 0; j < outputs; ++j) {
        const double q = element_at(target + j * loss.col_stride, loss.element);
        if (q != 0) value += q * (log_total - double(y[j]));
        weight += q;
        agreement += q * (slopes[j] /= total);
    }
    const double epsilon = loss.kind == LossKind::poly ? loss.option : 0;
    for (std::int64_t j = 0; j < outputs; ++j) {
        const double q = element_at(target + j * loss.col_stride, loss.element), p = slopes[j];
        slopes[j] = p * weight - q - epsilon * p * (q - agreement);
    }
    return value + epsilon * (1 - agreement);
}

template <class C>
void grade_rows(
    const void* context, std::int64_t first, std::int64_t rows, std::int64_t step, const void* y, void* dy,
    double* total
) {
    const LossContext& loss = *static_cast<const LossContext*>(context);
    constexpr std::int64_t few = 64;
    double inside[few];
    std::vector<double> outside(std::size_t(loss.outputs > few ? loss.outputs : 0));
    double* slopes = loss.outputs > few ? outside.data() : inside;
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = loss.order ? loss.order[first + r] : loss.start + first + r;
        const C* outputs = static_cast<const C*>(y) + r * step;
        C* gradient = static_cast<C*>(dy) + r * step;
        const char* target = loss.target ? loss.target + row * loss.row_stride : nullptr;
        double value;
        switch (loss.kind) {
            case LossKind::mse:
            case LossKind::squared_error:
            case LossKind::poisson:
                value = numbers(loss, target, outputs, slopes);
                break;
            case LossKind::binary_cross_entropy:
            case LossKind::binary_poly:
            case LossKind::binary_focal:
                value = binary(loss, target, outputs, slopes);
                break;
            default:
                value = categorical(loss, target, row, outputs, slopes);
        }
        const double share = (loss.sample_weight ? loss.sample_weight[row] : 1) * loss.scale;
        for (std::int64_t j = 0; j < loss.outputs; ++j) gradient[j] = C(share * slopes[j]);
        *total += share * value;
    }
}

}  // namespace

MlpLoss loss_function(Element compute) { return compute == Element::float64 ? grade_rows<double> : grade_rows<float>; }

}  // namespace fastnorm
