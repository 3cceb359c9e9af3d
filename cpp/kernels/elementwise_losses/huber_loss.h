// huber_loss, smooth_l1_loss and l1_loss, element by element: with d = x - t, a slope s that rises with d up
// to |d| = limit and stays there,
//
//   s = rise d, or +-top beyond the limit;  loss = s (d - bend s);  dx = s;  bend = limit / (2 top)
//
//   huber_loss      limit = top = delta        d^2/2, or delta (|d| - delta/2)
//   smooth_l1_loss  limit = beta, top = 1      d^2/(2 beta), or |d| - beta/2
//   l1_loss         limit = 0, top = 1         |d|
//
// d rise is cut off at +-top: within the limit s (d - bend s) is greatest at the exact slope, so that the
// slope's roundings do not enter, and beyond it d is at least twice what is taken from it. Where the rise is
// beyond the type it is a product of two numbers; that of l1_loss makes any d but 0 reach 1. With a top above
// 1 a loss may be beyond the type where the mean is not, and sums take the product in double.
//
// Error: below 3 ULP in loss and gradient.
#pragma once

#include "kernels/elementwise_losses/loss_blocks.h"

FASTNORM_TARGET_BEGIN

template <class V>
struct HuberTerms {
    V slope, rest;  // the loss is their product
    bool is_wide;

    FASTNORM_INLINE V loss() const { return slope * rest; }
    FASTNORM_INLINE V gradient() const { return slope; }
    template <class Wide>
    FASTNORM_INLINE Wide add_to(Wide sum) const {
        if (is_wide) return mul_add(to_double(slope), to_double(rest), sum);
        return sum + to_double(loss());
    }
};

template <class C>
class HuberLoss {
public:
    explicit FASTNORM_INLINE HuberLoss(const ElementwiseLoss& task)
        : top_(C(task.top)),
          rise_(C(task.rise[0])),
          more_(C(task.rise[1])),
          bend_(C(task.bend)),
          is_wide_(task.top > 1) {}

    template <class V>
    FASTNORM_INLINE HuberTerms<V> at(V x, V target) const {
        const V d = x - target, top = broadcast<V>(top_);
        V s = d * broadcast<V>(rise_);
        if (more_ != 1) s = s * broadcast<V>(more_);
        s = max(-top, min(top, s));  // NaN stays
        return {s, negative_mul_add(s, broadcast<V>(bend_), d), is_wide_};
    }

private:
    C top_, rise_, more_, bend_;
    bool is_wide_;
};

template <class T>
void huber_loss(const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    run_loss<HuberLoss<compute_t<T>>, T>(task, begin, end, scratch, 0, 0);
}

FASTNORM_TARGET_END
