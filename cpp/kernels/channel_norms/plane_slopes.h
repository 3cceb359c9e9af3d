// The sums that the gradients of the channel norms need of planes (plane_sums.h), and what follows from them
// for each channel: with the mean of its n values, h = dy * weight and what the mean that dx is computed with
// lacks,
//   dx = dy * rstd * weight + (x - centre) * slope + offset,  centre = mean - rest,
//   slope = -rstd^3 * sum h * (x - mean) / n,  offset = -rstd * sum h / n - slope * rest,
//   dweight = rstd * sum dy * (x - mean).
// The sums of a plane are around its own mean: sum dy * (x - mean) = sum dy * (x - its) + (its - mean) * sum
// dy.
#pragma once

#include "kernels/channel_norms/planes.h"
#include "kernels/channel_norms/statistics.h"

FASTNORM_TARGET_BEGIN

// The sums of the planes of outer indices [start, stop), which begin and end a block, and channels [begin,
// end).
template <class T>
void block_sums(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, const Partials& partials, std::int64_t start,
    std::int64_t stop, std::int64_t begin, std::int64_t end
) {
    const Channels& size = task.forward.size;
    PlaneTiles tiles(size, start, stop, begin, end);
    for (PlaneTile tile; tiles.next(tile);) {
        dy.fetch(tile.first, tile.count);
        x.fetch(tile.first, tile.count);
        for (int i = 0; i < tile.count; ++i) {
            const std::int64_t o = tile.outer[i], c = tile.channel[i];
            const std::int64_t block = size.block_outer == 1 ? o : o / size.block_outer;
            const double inner = double(size.inner), before = double(o - block * size.block_outer) * inner;
            PlaneSums sums = plane_sums<true, T>(x.row(i), dy.row(i), size.inner, task.forward.eps, false);
            if (before > 0) sums = merged(partials.plane(block, c), before, sums, inner);
            partials.set(block, c, sums);
        }
    }
}

// The statistics, if task.recompute, dweight, dbias, slope and offset of channels [begin, end) from the sums.
template <class S>
void finish_plane_sums(
    const ChannelBackward& task, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    double* const means = task.offset;  // of x, until it is known
    for (std::int64_t c = begin; c < end; ++c) {
        Moments total = partials.plane(0, c).moments;
        for (std::int64_t block = 1; block < partials.blocks; ++block) {
            const std::int64_t start = block * size.block_outer;
            const double count = double(smaller(size.block_outer, size.outer - start) * size.inner);
            total = merged(total, double(start * size.inner), partials.plane(block, c).moments, count);
        }
        means[c] = total.mean;
        if (task.recompute) forward.mean[c] = total.mean, forward.m2[c] = total.m2;
    }
    if (task.recompute) finish_statistics<S>(forward, {}, begin, end);
    const double n = size.count();
    for (std::int64_t c = begin; c < end; ++c) {
        const double rstd = forward.rstd[c], mean = means[c];
        const double around = task.through ? mean : forward.mean[c];
        const std::int64_t place = weight_place(size, c);
        double dy = 0, dy_d = 0, h = 0, h_d = 0;
        for (std::int64_t block = 0; block < partials.blocks; ++block) {
            const PlaneSums sums = partials.plane(block, c);
            const double along = sums.dy_d + (sums.moments.mean - around) * sums.dy;
            const double weight = weight_at<S>(size, forward.weight, place, block, 1);
            dy += sums.dy, dy_d += along;
            h += weight * sums.dy, h_d += weight * along;
            if (task.plane_dweight) {
                task.plane_dweight[block * size.channels + c] = rstd * along;
                task.plane_dbias[block * size.channels + c] = sums.dy;
            }
        }
        if (task.dweight) static_cast<S*>(task.dweight)[c] = S(rstd * dy_d);
        if (task.dbias) static_cast<S*>(task.dbias)[c] = S(dy);
        const double slope = -rstd * rstd * rstd * h_d / n, rest = mean - double(S(forward.mean[c]));
        task.slope[c] = task.through ? slope : 0;
        task.offset[c] = task.through ? -rstd * h / n - slope * rest : 0;
    }
}

FASTNORM_TARGET_END
