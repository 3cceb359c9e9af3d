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
    // Blocks of one plane are merged in their order anyway.
    const std::int64_t block_outer = size.block_outer == 1 ? size.outer : size.block_outer;
    const std::int64_t blocks = (size.outer + block_outer - 1) / block_outer;
    for (std::int64_t group = begin; group < end; ++group) {
        const std::int64_t first = group * size.group, last = smaller(first + size.group, size.channels);
        const Partials partials{reinterpret_cast<double*>(space), blocks, size.group, first};
        block_moments<T>(task, x, partials, block_outer, 0, size.outer, first, last);
        finish_statistics<compute_t<T>>(task, partials, first, last);
        PlaneTiles tiles(size, 0, size.outer, first, last);
        for (PlaneTile tile; tiles.next(tile);) apply_planes<T>(task, x, y, tile);
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
        block_sums<T>(task, dy, x, partials, 0, size.outer, first, last);
        finish_plane_sums<compute_t<T>>(task, partials, first, last);
        PlaneTiles tiles(size, 0, size.outer, first, last);
        for (PlaneTile tile; tiles.next(tile);) plane_gradients<T>(task, dy, x, dx, tile);
    }
}

FASTNORM_TARGET_END
