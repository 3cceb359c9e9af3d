// cross_entropy of a row of logits z against a class t or probabilities q, with its gradient while the row is
// in the cache; focal_loss and poly_loss are made of it.
//
//   p_j = exp(z_j) / S, w = class weights (1 where there are none), C classes, W = sum w_j
//   l_j = -log p_j = (reference - z_j) + lift, which keeps its digits near 0 (loops/exponential_rows.h)
//   u   = 1 - p_t, from the other exponentials where p_t > 1/2
//
// A class, label smoothing a, b = a/C:
//   loss = (1 - a) w_t l_t + b sum w_j l_j
//   dz_j = (p_j - [j = t]) (1 - a) w_t + b (W p_j - w_j),    at t: -(1 - a) w_t u + b (W p_t - w_t)
// Probabilities (smoothed first), A = sum q_j w_j:
//   loss = sum q_j w_j l_j,  dz_j = p_j A - q_j w_j
// The row's scalars are computed in double; probabilities are never stored.
#pragma once

#include "kernels/loops/exponential_rows.h"
#include "tasks/class_losses.h"

FASTNORM_TARGET_BEGIN

template <class T>
class CrossEntropyRow {
public:
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    using W = Vec<C, native<C>>;

    FASTNORM_INLINE CrossEntropyRow(const ClassLoss& task, const T* z, C* e, T* gradient)
        : task_(task),
          weight_(static_cast<const C*>(task.weight)),
          z_(z),
          e_(e),
          gradient_(gradient),
          cols_(task.shape.cols),
          row_(z, e, cols_, fetched_meanwhile<T>(z, gradient, cols_, task.stream || !gradient)) {}

    FASTNORM_INLINE bool wants_gradient() const { return gradient_; }

    // ---- a class

    // Of class t: l, p and u as above, and its weight.
    struct Label {
        std::int64_t t;
        double lift, l, p, u, w;
    };
    FASTNORM_INLINE Label label(std::int64_t t) {
        row_.try_dominant(t);
        const double lift = row_.lift();
        const double l = lift + (row_.reference() - double(widen(z_[t])));
        const double p = double(e_[t]) / row_.sum, u = row_.complement(t),
                     w = weight_ ? double(weight_[t]) : 1;
        return {t, lift, l, p, u, w};
    }

    // The label smoothing: a, and its share of each class, b.
    FASTNORM_INLINE double smoothing() const { return task_.label_smoothing; }
    FASTNORM_INLINE double share() const { return smoothing() / double(cols_); }

    // The loss of a label, smoothed.
    FASTNORM_INLINE double smoothed(double loss, const Label& label) const {
        if (!(smoothing() > 0)) return loss;
        loss = (1 - smoothing()) * loss;
        if (task_.losses) {
            const C m = row_maximum(z_, cols_);
            loss += share() * (task_.weight_sum * lift_above(m, label.lift) + weighted_distances(m));
        }
        return loss;
    }

    // dz times `scale`, where (p_j - [j = t]) is multiplied by `slope` and then smoothed.
    FASTNORM_INLINE void write_gradient(const Label& label, double slope, double scale) {
        const double b = share();
        const W factor = broadcast<W>(C(scale * ((slope + b * task_.weight_sum) / row_.sum)));
        const bool weighs = weight_ && b != 0;  // else the weights of other classes may be NaN
        const W smoothing_share = broadcast<W>(C(scale * b));
        write([&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const W smoothed =
                weighs ? smoothing_share * load_columns<W>(weight_ + j, step) : smoothing_share;
            return mul_sub(load_columns<W>(e_ + j, step), factor, smoothed);
        });
        narrow(C(scale * (b * (task_.weight_sum * label.p - label.w) - slope * label.u)), gradient_[label.t]);
    }

    // ---- probabilities q

    // sum q_j w_j, and the loss.
    struct Probabilities {
        const T* q;
        double total, loss;
    };
    FASTNORM_INLINE Probabilities probabilities(const T* q) {
        row_.find_dominant();
        const double total = in_row([&](std::int64_t j, auto step, V like)
                                        FASTNORM_INLINE_LAMBDA { return weighted(q, j, step, like); });
        const C m = row_maximum(z_, cols_);
        const V maximum = broadcast<V>(m), zero = broadcast<V>(0);
        // A class of probability 0 adds nothing, also where its logit is -infinity.
        const double distances = in_row([&](std::int64_t j, auto step, V like) FASTNORM_INLINE_LAMBDA {
            const V value = weighted(q, j, step, like);
            return select(value == zero, zero, value * (maximum - load_columns<V>(z_ + j, step)));
        });
        return {q, total, total * lift_above(m, row_.lift()) + distances};
    }

    // 1 - sum q_j p_j.
    FASTNORM_INLINE double complement(const T* q) {
        const std::int64_t d = row_.dominant;
        const C dominant = d < 0 ? C(0) : e_[d];
        if (d >= 0) e_[d] = 0;
        const double others = in_row([&](std::int64_t j, auto step, V like) FASTNORM_INLINE_LAMBDA {
            return smoothed_probability(q, j, step, like) * load_columns<V>(e_ + j, step);
        });
        if (d >= 0) e_[d] = dominant;
        return d < 0 ? 1 - others / row_.sum
                     : ((row_.rest - others) + (1 - smoothed_at(q, d)) * double(dominant)) / row_.sum;
    }

    // dz times `scale`, with poly_loss's p_j `slope` ((1 - v) - q_j) added.
    FASTNORM_INLINE void write_gradient(const Probabilities& of, double v, double slope, double scale) {
        const T* q = of.q;
        const std::int64_t d = row_.dominant;
        const C factor = C(1 / row_.sum), base = C(of.total + slope * (1 - v)), bend = C(slope),
                scales = C(scale);
        write([&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const W p = load_columns<W>(e_ + j, step) * broadcast<W>(factor);
            const W pull = negative_mul_add(
                broadcast<W>(bend), smoothed_probability(q, j, step, W{}), broadcast<W>(base)
            );
            return mul_sub(p, pull, weighted(q, j, step, W{})) * broadcast<W>(scales);
        });
        if (d < 0) return;
        const double target = smoothed_at(q, d), rest = row_.rest / row_.sum;
        const double excess = of.total - target * (weight_ ? double(weight_[d]) : 1);
        const double bent = slope * ((1 - target) - v);
        narrow(C(scale * (excess + bent - (of.total + bent) * rest)), gradient_[d]);
    }

private:
    // Sums over the row of terms(j, step, V).
    template <class Terms>
    FASTNORM_INLINE double in_row(Terms terms) const {
        return sum_columns<C>(cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            return within(terms(j, step, V{}), step);
        });
    }
    // Lanes beyond the row count as 0 in sums.
    template <class Step>
    FASTNORM_INLINE V within(V v, Step step) const {
        if constexpr (Step::partial) {
            C lanes[row_lanes];
            store(lanes, v);
            return load_partial<V>(lanes, step.count, C(0));
        } else {
            return v;
        }
    }
    // q_j smoothed, in lanes and one alone, and q_j w_j.
    template <class U, class Step>
    FASTNORM_INLINE U smoothed_probability(const T* q, std::int64_t j, Step step, U) const {
        const C keep = C(1 - task_.label_smoothing), added = C(task_.label_smoothing / double(cols_));
        return mul_add(load_columns<U>(q + j, step), broadcast<U>(keep), broadcast<U>(added));
    }
    FASTNORM_INLINE double smoothed_at(const T* q, std::int64_t j) const {
        const C keep = C(1 - task_.label_smoothing), added = C(task_.label_smoothing / double(cols_));
        return double(widen(q[j])) * double(keep) + double(added);
    }
    template <class U, class Step>
    FASTNORM_INLINE U weighted(const T* q, std::int64_t j, Step step, U like) const {
        const U value = smoothed_probability(q, j, step, like);
        return weight_ ? value * load_columns<U>(weight_ + j, step) : value;
    }
    // log(sum exp(z_j - m)) from the lift, which is above the reference.
    FASTNORM_INLINE double lift_above(C m, double lift) const {
        return lift + (row_.reference() - double(m));
    }
    // sum w_j (m - z_j)
    FASTNORM_INLINE double weighted_distances(C m) const {
        const V maximum = broadcast<V>(m);
        return sum_columns<C>(cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V distance = maximum - load_columns<V>(z_ + j, step, m);
            return weight_ ? distance * load_columns<V>(weight_ + j, step) : distance;
        });
    }
    template <class Function>
    FASTNORM_INLINE void write(Function f) {
        const bool streaming = sizeof(T) == sizeof(C) && task_.stream;
        const std::int64_t head = streaming ? columns_to_alignment(gradient_, cols_, stream_alignment) : 0;
        for_columns_after<lane_count<W>>(head, cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            if (!task_.stream) prefetch_read(z_ + cols_ + j);
            write_columns(gradient_ + j, f(j, step), step, streaming);
        });
    }

    const ClassLoss& task_;
    const C* weight_;
    const T* z_;
    C* e_;
    T* gradient_;
    std::int64_t cols_;
    ExponentialRow<T> row_;
};

FASTNORM_TARGET_END
