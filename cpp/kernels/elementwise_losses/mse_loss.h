// Squared error of each element: loss = (x - t)^2, gradient 2 (x - t). Sums take the squares in double.
#pragma once

#include "kernels/elementwise_losses/loss_blocks.h"

FASTNORM_TARGET_BEGIN

template <class V>
struct SquaredError {
    V difference;

    FASTNORM_INLINE V loss() const { return difference * difference; }
    FASTNORM_INLINE V gradient() const { return difference + difference; }
    template <class Wide>
    FASTNORM_INLINE Wide add_to(Wide sum) const {
        const Wide wide = to_double(difference);
        return mul_add(wide, wide, sum);
    }
};

struct SquaredErrorLoss {
    explicit FASTNORM_INLINE SquaredErrorLoss(const ElementwiseLoss&) {}
    template <class V>
    FASTNORM_INLINE SquaredError<V> at(V x, V target) const {
        return {x - target};
    }
};

template <class T>
void mse_loss(const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    run_loss<SquaredErrorLoss, T>(task, begin, end, scratch, 0, 0);
}

FASTNORM_TARGET_END
