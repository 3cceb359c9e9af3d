// The optimisers: one update of one parameter.
#pragma once

#include <limits>
#include <vector>

#include "plan/view.h"

namespace fastnorm {

enum class Optimizer { sgd, adam, rmsprop, lion };

// What an optimiser is, without its state. RMSprop's alpha is beta2, as it belongs to the second moment.
struct OptimizerRule {
    Optimizer kind = Optimizer::sgd;
    double lr = 0, momentum = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
    bool nesterov = false, decoupled = false, corrected_eps = false;
};

// A parameter as an optimiser sees it, contiguous elements, and its state: of the compute type, null where
// there is none. The gradient is of the compute type where `wide`, else of the parameter's.
struct OptimizedParameter {
    void* data = nullptr;
    std::int64_t size = 0;
    Element element = Element::float32;
    const void* gradient = nullptr;
    bool wide = true;
    void* first = nullptr;  // moments
    void* second = nullptr;
    void* velocity = nullptr;
    std::int64_t* steps = nullptr;  // updates made so far
    // Of its own; NaN where those of the rule hold.
    double lr = std::numeric_limits<double>::quiet_NaN(), weight_decay = lr;
};

// What an update of so many elements takes one thread.
double update_nanoseconds(const OptimizerRule& rule, double elements);

// An update, counted, on threads.
void update_parameter(const OptimizerRule& rule, const OptimizedParameter& parameter) noexcept;

// A gradient, contiguous elements.
struct GradientArray {
    void* data = nullptr;
    std::int64_t size = 0;
    Element element = Element::float32;
};

// Multiplies gradients by min(1, max_norm / (norm + 1e-6)), on threads, and returns the norm of them all.
// `max_norm` may be infinite: nothing is changed then.
double clip_gradients(const std::vector<GradientArray>& gradients, double max_norm) noexcept;

// What that takes one thread for so many elements.
double clip_nanoseconds(double elements);

}  // namespace fastnorm
