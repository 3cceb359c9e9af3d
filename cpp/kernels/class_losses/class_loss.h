// Losses of a row of logits z against a class t or probabilities q, each with its gradient while the row is
// in the cache.
//
//   p_j = exp(z_j) / S, w = class weights (1 where there are none), C classes, W = sum w_j
//   l_j = -log p_j = lift + (m - z_j): both parts >= 0, and lift keeps its digits near 0 (exponential_rows.h)
//   u   = 1 - p_t, from the other exponentials where p_t > 1/2
//
// Class targets, label smoothing a, b = a/C, v = 1 - sum q_j p_j = (1 - a) u + a - b:
//   (1 - a) w_t u^gamma l_t + b sum w_j l_j + sum_k eps_k v^k
//   dz_j = (p_j - [j = t]) (1 - a) G + b (W p_j - w_j),        at t: -(1 - a) G u + b (W p_t - w_t),
//   G = w_t (u^gamma + gamma u^(gamma - 1) p_t l_t) + p_t sum_k k eps_k v^(k - 1)
// Probability targets (smoothed first), A = sum q_j w_j:
//   sum q_j w_j l_j + sum_k eps_k v^k
//   dz_j = p_j (A + H (g - q_j)) - q_j w_j, g = 1 - v, H = sum_k k eps_k v^(k - 1)
// cross_entropy has neither gamma nor eps, focal_loss gamma, poly_loss eps; w is 1 where an op has no
// weights. The row's scalars are computed in double; probabilities are never stored.
#pragma once

#include "kernels/softmax/softmax.h"
#include "tasks/class_losses.h"

FASTNORM_TARGET_BEGIN

// x^y for 0 <= x <= 1 and y >= 0, by multiplications where y is a small integer.
FASTNORM_INLINE double power_at(double x, double y) {
    if (y == 0) return 1;
    if (y == double(int(y < 64 ? y : 0.5))) {
        double result = x;
        for (int k = 1; k < int(y); ++k) result *= x;
        return result;
    }
    if (x < 0x1p-1022) return x == x ? 0 : x;
    return at_point(x, [&](auto v) FASTNORM_INLINE_LAMBDA {
        return exp(broadcast<decltype(v)>(y) * log(v));
    });
}

// sum_k eps_k v^k and its derivative in v.
struct Polynomial {
    double value, slope;
};
FASTNORM_INLINE Polynomial polynomial_loss(const ClassLoss& task, double v) {
    double value = 0, slope = 0;
    for (std::int64_t k = task.terms; k > 0; --k) {
        slope = slope * v + double(k) * task.epsilon[k - 1];
        value = (value + task.epsilon[k - 1]) * v;
    }
    return {value, slope};
}

template <class T>
class ClassLossRow {
public:
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    using W = Vec<C, native<C>>;

    FASTNORM_INLINE ClassLossRow(const ClassLoss& task, const T* z, C* e, T* gradient)
        : task_(task),
          weight_(static_cast<const C*>(task.weight)),
          z_(z),
          e_(e),
          gradient_(gradient),
          cols_(task.shape.cols),
          row_(z, e, cols_, fetched_meanwhile<T>(z, gradient, cols_, task.stream || !gradient)) {}

    // The loss for a class, and its gradient times `scale`.
    FASTNORM_INLINE double of_label(std::int64_t t, double scale) {
        row_.try_dominant(t);
        const double a = task_.label_smoothing, b = a / double(cols_), lift = row_.lift();
        const double l = lift + (row_.maximum() - double(widen(z_[t])));
        const double p = double(e_[t]) / row_.sum, u = row_.complement(t),
                     w = weight_ ? double(weight_[t]) : 1;
        const double gamma = task_.gamma, power = power_at(u, gamma);
        // Where u is 0 the gradient (p_j - [j = t]) G is too, whatever G.
        const double lower = gamma == 0 || u == 0 ? 0 : gamma * (power / u);
        const Polynomial added = polynomial_loss(task_, (1 - a) * u + (a - b));
        double loss = w * (power * l);
        if (a > 0) {
            loss = (1 - a) * loss;
            if (task_.losses) loss += b * (task_.weight_sum * lift + weighted_distances());
        }
        loss += added.value;
        if (gradient_) {
            // p is 0 only where l need not be finite.
            const double bent = p == 0 ? power : power + lower * (p * l);
            const double slope = (1 - a) * (w * bent + p * added.slope);
            const W factor = broadcast<W>(C(scale * ((slope + b * task_.weight_sum) / row_.sum)));
            const W smoothing = broadcast<W>(C(scale * b));
            write([&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                const W smoothed = weight_ ? smoothing * load_columns<W>(weight_ + j, step) : smoothing;
                return mul_sub(load_columns<W>(e_ + j, step), factor, smoothed);
            });
            narrow(C(scale * (b * (task_.weight_sum * p - w) - slope * u)), gradient_[t]);
        }
        return loss;
    }

    // The same for probabilities q.
    FASTNORM_INLINE double of_probabilities(const T* q, double scale) {
        row_.find_dominant();
        const C keep = C(1 - task_.label_smoothing), added = C(task_.label_smoothing / double(cols_));
        const auto smoothed = [&](std::int64_t j, auto step, auto like) FASTNORM_INLINE_LAMBDA {
            using U = decltype(like);
            return mul_add(load_columns<U>(q + j, step), broadcast<U>(keep), broadcast<U>(added));
        };
        const auto weighted = [&](std::int64_t j, auto step, auto like) FASTNORM_INLINE_LAMBDA {
            using U = decltype(like);
            const U value = smoothed(j, step, like);
            return weight_ ? value * load_columns<U>(weight_ + j, step) : value;
        };
        const auto in_row = [&](auto terms) FASTNORM_INLINE_LAMBDA {
            return sum_columns<C>(cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                return within(terms(j, step, V{}), step);
            });
        };
        const double total = in_row(weighted);
        const V maximum = broadcast<V>(C(row_.maximum())), zero = broadcast<V>(0);
        // A class of probability 0 adds nothing, also where its logit is -infinity.
        const double distances = in_row([&](std::int64_t j, auto step, V like) FASTNORM_INLINE_LAMBDA {
            const V value = weighted(j, step, like);
            return select(value == zero, zero, value * (maximum - load_columns<V>(z_ + j, step)));
        });
        const std::int64_t d = row_.dominant;
        double v = 0, slope = 0, loss = total * row_.lift() + distances;
        if (task_.terms > 0) {
            const C dominant = d < 0 ? C(0) : e_[d];
            if (d >= 0) e_[d] = 0;
            const double others = in_row([&](std::int64_t j, auto step, V like) FASTNORM_INLINE_LAMBDA {
                return smoothed(j, step, like) * load_columns<V>(e_ + j, step);
            });
            if (d >= 0) e_[d] = dominant;
            v = d < 0 ? 1 - others / row_.sum
                      : ((row_.rest - others) + (1 - smoothed_at(q, d)) * double(dominant)) / row_.sum;
            const Polynomial added_loss = polynomial_loss(task_, v);
            loss += added_loss.value;
            slope = added_loss.slope;
        }
        if (gradient_) {
            const C factor = C(1 / row_.sum), base = C(total + slope * (1 - v)), bend = C(slope),
                    scales = C(scale);
            write([&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                const W p = load_columns<W>(e_ + j, step) * broadcast<W>(factor);
                const W pull =
                    negative_mul_add(broadcast<W>(bend), smoothed(j, step, W{}), broadcast<W>(base));
                return mul_sub(p, pull, weighted(j, step, W{})) * broadcast<W>(scales);
            });
            if (d >= 0) {
                const double target = smoothed_at(q, d), share = row_.rest / row_.sum;
                const double excess = total - target * (weight_ ? double(weight_[d]) : 1);
                const double bent = slope * ((1 - target) - v);
                narrow(C(scale * (excess + bent - (total + bent) * share)), gradient_[d]);
            }
        }
        return loss;
    }

private:
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
    FASTNORM_INLINE double smoothed_at(const T* q, std::int64_t j) const {
        const C keep = C(1 - task_.label_smoothing), added = C(task_.label_smoothing / double(cols_));
        return double(widen(q[j])) * double(keep) + double(added);
    }
    // sum w_j (m - z_j)
    FASTNORM_INLINE double weighted_distances() const {
        const V maximum = broadcast<V>(C(row_.maximum()));
        return sum_columns<C>(cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V distance = maximum - load_columns<V>(z_ + j, step, C(row_.maximum()));
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

template <class T>
void class_loss(const ClassLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    C* e = take_work_row<C>(space, task.shape.cols);
    RowTile<T> logits(task.shape, task.logits, space), gradient(task.shape, task.gradient, space),
        probabilities(task.shape, task.probabilities, space);
    const C* dloss = static_cast<const C*>(task.dloss);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        logits.fetch(first, count);
        if (!task.labels) probabilities.fetch(first, count);
        if (task.gradient.data) gradient.select(first);
        for (int i = 0; i < count; ++i) {
            const std::int64_t row = first + i;
            T* const target = task.gradient.data ? gradient.row(i) : nullptr;
            const double scale = dloss ? task.scale * double(dloss[row]) : task.scale;
            double loss = 0;
            if (!task.labels) {
                loss = ClassLossRow<T>(task, logits.row(i), e, target)
                           .of_probabilities(probabilities.row(i), scale);
            } else if (std::uint64_t(task.labels[row]) < std::uint64_t(task.shape.cols)) {
                loss = ClassLossRow<T>(task, logits.row(i), e, target).of_label(task.labels[row], scale);
            } else if (target) {
                __builtin_memset(target, 0, std::size_t(task.shape.cols) * sizeof(T));
            }
            if (task.losses) task.losses[row] = loss;
        }
        if (task.gradient.data) gradient.write_back(first, count);
    }
}

template <class T>
void round_losses(const RoundLosses& task, std::int64_t begin, std::int64_t end, void*) {
    T* rounded = static_cast<T*>(task.rounded);
    for (std::int64_t i = begin; i < end; ++i) narrow(compute_t<T>(task.losses[i]), rounded[i]);
}

FASTNORM_TARGET_END
