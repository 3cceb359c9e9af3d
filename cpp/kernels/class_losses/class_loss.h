// The kernel of cross_entropy, focal_loss and poly_loss, which are one function of two more parameters: with
// the names of cross_entropy.h,
//   loss = (1 - a) w_t u^gamma l_t + b sum w_j l_j + sum_k eps_k v^k,  v = 1 - sum q_j p_j = (1 - a) u + a -
//   b dz_j = (p_j - [j = t]) (1 - a) G + b (W p_j - w_j),        at t: -(1 - a) G u + b (W p_t - w_t), G =
//   w_t (u^gamma + gamma u^(gamma - 1) p_t l_t) + p_t sum_k k eps_k v^(k - 1)
// for a class, and for probabilities
//   loss = sum q_j w_j l_j + sum_k eps_k v^k
//   dz_j = p_j (A + H (g - q_j)) - q_j w_j,  g = 1 - v,  H = sum_k k eps_k v^(k - 1).
// cross_entropy has neither gamma nor eps, focal_loss gamma, poly_loss eps; w is 1 where an op has no
// weights.
#pragma once

#include <cstring>

#include "kernels/class_losses/cross_entropy.h"
#include "kernels/class_losses/focal_loss.h"
#include "kernels/class_losses/poly_loss.h"
#include "kernels/loops/row_tile.h"

FASTNORM_TARGET_BEGIN

// The loss of a row for a class, and its gradient times `scale`.
template <class T>
FASTNORM_INLINE double label_loss(
    CrossEntropyRow<T> row, const ClassLoss& task, std::int64_t t, double scale
) {
    const auto label = row.label(t);
    const double a = row.smoothing(), b = row.share();
    const FocalFactor focal = focal_factor(label.u, task.gamma);
    const Polynomial added = polynomial_loss(task, (1 - a) * label.u + (a - b));
    const double loss = row.smoothed(label.w * (focal.power * label.l), label) + added.value;
    if (row.wants_gradient()) {
        const double bent = focal.of_gradient(label.p, label.l);
        row.write_gradient(label, (1 - a) * (label.w * bent + label.p * added.slope), scale);
    }
    return loss;
}

// The same for probabilities q.
template <class T>
FASTNORM_INLINE double probabilities_loss(
    CrossEntropyRow<T> row, const ClassLoss& task, const T* q, double scale
) {
    const auto probabilities = row.probabilities(q);
    double v = 0;
    Polynomial added = {0, 0};
    if (task.terms > 0) {
        v = row.complement(q);
        added = polynomial_loss(task, v);
    }
    if (row.wants_gradient()) row.write_gradient(probabilities, v, added.slope, scale);
    return task.terms > 0 ? probabilities.loss + added.value : probabilities.loss;
}

template <class T>
void class_loss(const ClassLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    C* const e = reinterpret_cast<C*>(space);
    space += work_row_bytes(task.shape.cols, sizeof(C));
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
            const std::int64_t label = task.labels ? read_once(task.labels[row]) : 0;
            double loss = 0;
            if (!task.labels) {
                loss = probabilities_loss(
                    CrossEntropyRow<T>(task, logits.row(i), e, target), task, probabilities.row(i), scale
                );
            } else if (std::uint64_t(label) < std::uint64_t(task.shape.cols)) {
                loss = label_loss(CrossEntropyRow<T>(task, logits.row(i), e, target), task, label, scale);
            } else if (target) {
                std::memset(target, 0, std::size_t(task.shape.cols) * sizeof(T));
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
