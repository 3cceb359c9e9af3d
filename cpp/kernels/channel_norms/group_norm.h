// group_norm: y = (x - mean) * rstd * weight[channel] + bias[channel] with one mean and rstd for each sample
// and group of channels. Formulas and steps are those of batch_norm, of which a (sample, group) is a channel
// and the group's channels are `outer`; the weight then belongs to a plane (Channels::weight_outer_step), and
// dweight and dbias are sums over samples of what each plane leaves (ChannelBackward::plane_dweight).
//
// Groups of channels that fit in the second-level cache take all steps back to back, so that x (and dy) are
// read from memory once. Source: Wu and He, "Group Normalization", 2018.
#pragma once

#include "kernels/channel_norms/batch_norm.h"

FASTNORM_TARGET_BEGIN

template <class T>
void channel_norm_forward(const ChannelForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(size.shape, task.x, space), y(size.shape, task.y, space);
    for (std::int64_t group = begin; group < end; ++group) {
        const std::int64_t first = group * size.group, last = smaller(first + size.group, size.channels);
        const Partials partials{reinterpret_cast<double*>(space), size.blocks(), size.group, first};
        for (std::int64_t block = 0; block < size.blocks(); ++block) {
            block_moments<T>(task, x, y, partials, block, first, last);
        }
        finish_statistics<compute_t<T>>(task, partials, first, last);
        for (std::int64_t o = 0; o < size.outer; ++o) {
            for (std::int64_t c = first; c < last; c += tile_rows) {
                apply_planes<T>(task, x, y, o, c, int(smaller(tile_rows, last - c)));
            }
        }
    }
}

template <class T>
void channel_norm_backward(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, forward.x, space),
        dx(size.shape, task.dx, space);
    for (std::int64_t group = begin; group < end; ++group) {
        const std::int64_t first = group * size.group, last = smaller(first + size.group, size.channels);
        const Partials partials{reinterpret_cast<double*>(space), size.blocks(), size.group, first};
        if (task.recompute) {
            for (std::int64_t block = 0; block < size.blocks(); ++block) {
                block_moments<T>(forward, x, x, partials, block, first, last);
            }
            finish_statistics<compute_t<T>>(forward, partials, first, last);
        }
        for (std::int64_t block = 0; block < size.blocks(); ++block) {
            block_sums<T>(task, dy, x, partials, block, first, last);
        }
        finish_sums<compute_t<T>>(task, partials, first, last);
        for (std::int64_t o = 0; o < size.outer; ++o) {
            for (std::int64_t c = first; c < last; c += tile_rows) {
                plane_gradients<T>(task, dy, x, dx, o, c, int(smaller(tile_rows, last - c)));
            }
        }
    }
}

FASTNORM_TARGET_END
