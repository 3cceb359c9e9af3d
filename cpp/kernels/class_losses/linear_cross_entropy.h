// linear_cross_entropy: the cross entropy of logits z = x W + b against classes t, which are met class_block
// columns at a time and kept for as long only as the gradient needs them. Between two blocks a row is its
// maximum m, the sum R of its exponentials but that of t, shifted for m as loops/exponential_rows.h shifts
// those of a row, and z_t (ClassRow). Where a block brings a larger maximum, R is scaled anew: by a power of
// two, which is exact, unless the maximum is far from 0. With E the exponential of z_t, S = R + E, C classes,
// label smoothing a, b = a/C:
//   l_j  = lift + (m - z_j), lift = log(S) or, where E holds more than half of S, log1p(R / E)
//   loss = (1 - a) l_t + b sum l_j
//   dz_j = p_j - b,  p_j = exp(z_j) / S,      at t: -(1 - a) u + b (C p_t - 1),  u = 1 - p_t = R / S
// and 0 where that is subnormal (simd/vec.h).
// What is promised of cross_entropy.h is kept for the logits as they are: a loss near 0 and u keep their
// digits, exponentials are summed in float lanes folded to double.
// Sources: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", arXiv:2411.09009 (2024);
// Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867 (2018).
#pragma once

#include <cstring>

#include "kernels/loops/exponential_rows.h"
#include "tasks/class_losses.h"

FASTNORM_TARGET_BEGIN

template <class C>
class OnlineRow {
    using V = Vec<C, row_lanes>;
    using W = Vec<C, native<C>>;
    static constexpr C infinity = std::numeric_limits<C>::infinity();

public:
    OnlineRow(const LinearCrossEntropy& task, ClassRow& row, C* z, std::int64_t label)
        : task_(task), row_(row), z_(z), label_(label) {
        if (task.first == 0) row = {-double(infinity), 0, 0, std::numeric_limits<double>::quiet_NaN()};
    }

    void take_columns() {
        for (std::int64_t j = task_.first; j < task_.last; j += class_block)
            take_block(j, smaller(class_block, task_.last - j));
        if (label_ >= task_.first && label_ < task_.last) row_.target = double(z_[label_ - task_.first]);
    }

    // The loss; the gradient times `scale` in place of the logits, if it is wanted.
    double finish(double scale) {
        const Shift<C> shift = Shift<C>::of(C(row_.maximum));
        C lanes[native<C>];
        store(lanes, shift.exponentials(broadcast<W>(C(row_.target))));
        const double e = double(lanes[0]);
        const double sum = shift.finite ? row_.others + e : std::numeric_limits<double>::quiet_NaN();
        const double classes = double(task_.classes), a = task_.label_smoothing, b = a / classes;
        if (task_.wants_gradient) {
            const W factor = broadcast<W>(C(scale * (((1 - a) + b * classes) / sum)));
            const W share = broadcast<W>(C(scale * b));
            for_columns<native<C>>(0, task_.classes, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                const W power = shift.normal_shares(load_columns<W>(static_cast<const C*>(z_) + j, step));
                store_columns(z_ + j, without_subnormals(mul_sub(power, factor, share)), step);
            });
            z_[label_] = C(scale * (b * (classes * (e / sum) - 1) - (1 - a) * (row_.others / sum)));
        }
        const double lift = 2 * e > sum ? log1p_at(row_.others / e) : shift.lift(sum);
        const double loss = lift + (row_.maximum - row_.target);
        return a > 0 ? (1 - a) * loss + b * (classes * lift + row_.distances) : loss;
    }

private:
    // Columns [first, first + cols).
    void take_block(std::int64_t first, std::int64_t cols) {
        const C* z = z_ + (first - task_.first);
        const C highest = row_maximum(z, cols);
        if (double(highest) > row_.maximum) {
            if (first > 0) row_.distances += double(first) * (double(highest) - row_.maximum);
            row_.others *= ratio(Shift<C>::of(C(row_.maximum)), Shift<C>::of(highest));
            row_.maximum = double(highest);
        }
        const Shift<C> shift = Shift<C>::of(C(row_.maximum));
        if (shift.finite) {
            C e[class_block];
            double sum = row_exponentials(z, e, cols, shift).value;
            if (label_ >= first && label_ < first + cols) sum = row_rest(e, cols, label_ - first);
            row_.others += sum;
        } else {
            // Nothing but -infinity so far, which adds 0, and NaN; or an infinity, of which finish() makes
            // NaN.
            row_.others += sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                const V value = load_columns<V>(z + j, step, -infinity);
                return select(value == broadcast<V>(-infinity), broadcast<V>(0), value);
            });
            return;
        }
        if (!(task_.label_smoothing > 0)) return;
        const V maximum = broadcast<V>(C(row_.maximum));
        row_.distances += sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            return maximum - load_columns<V>(z + j, step, C(row_.maximum));
        });
    }

    // What an exponential under one shift is under a later one.
    static double ratio(const Shift<C>& before, const Shift<C>& now) {
        using D = Vec<double, native<double>>;
        const double distance = double(before.shift) - double(now.shift);
        const double power = double(before.power) - double(now.power);
        if (!(distance + power * LogarithmLayout<double>::ln2_high > -Shift<double>::reach)) return 0;
        return at_point(distance, [&](D x) FASTNORM_INLINE_LAMBDA {
            return scaled_exp(x, broadcast<D>(-power), x < x);  // which none vanishes by
        });
    }

    const LinearCrossEntropy& task_;
    ClassRow& row_;
    C* z_;
    const std::int64_t label_;
};

template <class C>
void linear_cross_entropy_rows(const LinearCrossEntropy& task, std::int64_t begin, std::int64_t end) {
    const C* dloss = static_cast<const C*>(task.dloss);
    for (std::int64_t i = begin; i < end; ++i) {
        C* const z = static_cast<C*>(task.logits) + i * task.step;
        const std::int64_t label = read_once(task.labels[i]);
        const bool counts = std::uint64_t(label) < std::uint64_t(task.classes);
        double loss = 0;
        if (counts) {
            OnlineRow<C> row(task, task.rows[i], z, label);
            row.take_columns();
            if (task.last < task.classes) continue;
            loss = row.finish(dloss ? task.scale * double(dloss[i]) : task.scale);
        } else if (task.wants_gradient) {
            std::memset(z, 0, std::size_t(task.classes) * sizeof(C));
        }
        if (task.losses && task.last == task.classes) task.losses[i] = loss;
    }
}

template <class T>
void linear_cross_entropy(const LinearCrossEntropy& task, std::int64_t begin, std::int64_t end, void*) {
    linear_cross_entropy_rows<compute_t<T>>(task, begin, end);
}

FASTNORM_TARGET_END
