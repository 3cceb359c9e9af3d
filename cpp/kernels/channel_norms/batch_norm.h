// batch_norm: y = (x - mean) * rstd * weight + bias with one mean and rstd for each channel of (outer,
// channels, inner) values. With h = dy * weight, xhat = (x - mean) * rstd, the means over the n = outer *
// inner values of a channel:
//   dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), or rstd * h where the statistics are not functions of
//   x; dweight = sum dy * xhat,  dbias = sum dy.
//
// One step after the other over the whole array: channel_moments (moments.h) and channel_statistics where the
// batch's statistics are wanted, channel_apply; channel_sums, which take the moments of planes too,
// channel_slopes, channel_gradient. Arrays of
// which a group of channels fits in the second-level cache take all steps group by group (group_norm.h).
// Source: Ioffe and Szegedy, "Batch Normalization", 2015.
#pragma once

#include "kernels/channel_norms/columns.h"
#include "kernels/channel_norms/plane_slopes.h"
#include "kernels/channel_norms/sums.h"

FASTNORM_TARGET_BEGIN

template <class T>
void channel_statistics(const ChannelForward& task, std::int64_t begin, std::int64_t end, void*) {
    using S = compute_t<T>;
    finish_statistics<S>(task, {task.partials, task.size.blocks(), task.size.columns(), 0}, begin, end);
    if (task.coefficients) column_coefficients<S>(task, begin, end);
}

template <class T>
void channel_apply(const ChannelForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(size.shape, task.x, space), y(size.shape, task.y, space);
    if (size.planes) {
        PlaneTiles tiles(size, begin * tile_rows, smaller(end * tile_rows, size.outer * size.channels));
        for (PlaneTile tile; tiles.next(tile);) apply_planes<T>(task, x, y, tile);
        return;
    }
    for (std::int64_t first = begin * tile_rows; first < smaller(end * tile_rows, size.outer);
         first += tile_rows)
        apply_columns<T>(task, x, y, first, int(smaller(tile_rows, size.outer - first)));
}

template <class T>
void channel_sums(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, task.forward.x, space);
    const Partials partials{task.partials, size.blocks(), size.columns(), 0};
    if (size.planes) {
        const std::int64_t start = begin * size.block_outer,
                           stop = smaller(end * size.block_outer, size.outer);
        return block_sums<T>(task, dy, x, partials, start, stop, 0, size.channels);
    }
    for (std::int64_t block = begin; block < end; ++block) block_column_sums<T>(task, dy, x, partials, block);
}

template <class T>
void channel_slopes(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void*) {
    using S = compute_t<T>;
    const Channels& size = task.forward.size;
    const Partials partials{task.partials, size.blocks(), size.columns(), 0};
    if (task.sums) (size.planes ? finish_plane_sums<S> : finish_column_sums<S>)(task, partials, begin, end);
    if (task.coefficients) gradient_coefficients<S>(task, begin, end);
}

template <class T>
void channel_gradient(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, task.forward.x, space),
        dx(size.shape, task.dx, space);
    if (size.planes) {
        PlaneTiles tiles(size, begin * tile_rows, smaller(end * tile_rows, size.outer * size.channels));
        for (PlaneTile tile; tiles.next(tile);) plane_gradients<T>(task, dy, x, dx, tile);
        return;
    }
    for (std::int64_t first = begin * tile_rows; first < smaller(end * tile_rows, size.outer);
         first += tile_rows)
        column_gradients<T>(task, dy, x, dx, first, int(smaller(tile_rows, size.outer - first)));
}

FASTNORM_TARGET_END
