// mean, m2 and rstd of channels from the moments of their blocks, and the running averages of batch_norm.
#pragma once

#include "kernels/channel_norms/moments.h"

FASTNORM_TARGET_BEGIN

// new = (1 - momentum) * old + momentum * value, in double, rounded once.
template <class S, class V, class Step>
FASTNORM_INLINE void update_running(void* running, std::int64_t j, V value, double momentum, Step step) {
    S* const old = static_cast<S*>(running) + j;
    const V kept = load_columns<V>(old, step) * broadcast<V>(1 - momentum);
    store_columns(old, mul_add(value, broadcast<V>(momentum), kept), step);
}

// mean, m2 and rstd of channels [begin, end), and the running arrays.
template <class S>
void finish_statistics(
    const ChannelForward& task, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    using V = Vec<double, channel_lanes>;
    const Channels& size = task.size;
    if (partials.data) {
        const std::int64_t per_channel = size.columns() / size.channels;
        merge_blocks(size, partials, begin * per_channel, end * per_channel);
        for (std::int64_t c = begin; c < end; ++c) {
            Moments total{*partials.at(0, 0, c * per_channel), *partials.at(1, 0, c * per_channel)};
            for (std::int64_t l = 1; l < per_channel; ++l) {
                const Moments next{
                    *partials.at(0, 0, c * per_channel + l), *partials.at(1, 0, c * per_channel + l)
                };
                total = merged(total, double(l) * double(size.outer), next, double(size.outer));
            }
            task.mean[c] = total.mean;
            task.m2[c] = total.m2;
        }
    }
    if (!task.rstd || !task.m2) return;  // the moments are all that is wanted, or rstd is given
    const V zero = broadcast<V>(0), one = broadcast<V>(1), eps = broadcast<V>(task.eps);
    const V count = broadcast<V>(task.count), spare = broadcast<V>(task.count - task.correction);
    for_columns<channel_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V mean = load_columns<V>(task.mean + j, step);
        const V m2 = load_columns<V>(task.m2 + j, step), variance = m2 / count + eps;
        V rstd =
            select(variance == zero, zero, one / sqrt(variance));  // 0 for a constant channel without eps
        if (task.running_mean) {
            update_running<S>(task.running_mean, j, mean, task.momentum, step);
            update_running<S>(task.running_var, j, m2 / spare, task.momentum, step);
        }
        if constexpr (sizeof(S) == 4) {
            if (task.round_statistics) mean = to_double(to_float(mean)), rstd = to_double(to_float(rstd));
        }
        store_columns(task.mean + j, mean, step);
        store_columns(task.rstd + j, rstd, step);
    });
}

FASTNORM_TARGET_END
