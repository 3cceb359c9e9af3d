// What the kernels of batch_norm, group_norm, instance_norm and moments are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// An array as (outer, channels, inner) values, one mean and one variance for each channel over outer x inner
// of them.
//
// The order of every sum follows from these three numbers and from `block_outer` alone, whatever the strides:
// - planes (inner >= least_plane): a plane is the `inner` values of one (outer, channel), a row of `shape`,
// and
//   is summed on its own. The planes of a block of `block_outer` are merged one after the other, then the
//   blocks. Rows are in (outer, channel) order, of group_norm in (channel, outer) order.
// - columns: a row of `shape` is the channels x inner values of one outer index. Each column is summed down a
// block of
//   `block_outer` rows; the blocks are merged one after the other, then the `inner` columns of a channel.
constexpr std::int64_t least_plane = 16;

struct Channels {
    Rows shape;
    std::int64_t outer, channels, inner;
    bool planes;
    std::int64_t block_outer;
    std::int64_t
        group;  // planes: channels that channel_norm_* take through all steps while they are in the cache
    // The weight of a plane is weight[channel % period * step + outer * outer_step]. For batch_norm that is
    // weight[channel]. group_norm sees the channels of a group as `outer` and (sample, group) as channels.
    std::int64_t weight_period, weight_step, weight_outer_step;

    FASTNORM_INLINE constexpr std::int64_t blocks() const { return (outer + block_outer - 1) / block_outer; }
    FASTNORM_INLINE constexpr std::int64_t columns() const { return planes ? channels : channels * inner; }
    FASTNORM_INLINE constexpr double count() const { return double(outer) * double(inner); }
    // Whether it is group_norm, whose channels are groups of planes with a weight each.
    FASTNORM_INLINE constexpr bool grouped() const { return weight_outer_step != 0; }
    // Units of channel_apply and channel_gradient: tiles of rows.
    FASTNORM_INLINE constexpr std::int64_t tiles() const {
        return ((planes ? outer * channels : outer) + tile_rows - 1) / tile_rows;
    }
};

// Parameters and returned statistics are contiguous arrays of the compute type, null where they are absent.
//   channel_moments, a call over blocks: the moments of each block of x, in the partials.
//   channel_statistics, over channels: merges the partials (where there are any; else mean and m2 are given),
//   updates
//     the running arrays, sets rstd and, for columns, the coefficients.
//   channel_apply, over tiles: y = (x - mean) * rstd * weight + bias.
//   channel_norm_forward, over groups of planes: all of these, with partials of its own in scratch.
struct ChannelForward {
    Channels size;
    Operand x, y;
    const void* weight;
    const void* bias;
    double eps;
    double count;      // m2 / count is the variance
    double* partials;  // blocks x columns means, then as many sums of squared deviations; null: none to merge
    double* mean;      // one a channel
    double* m2;
    double* rstd;  // null: the moments are all that is wanted; given with the mean where m2 is null
    double*
        coefficients;    // columns: 3 x columns, mean, factor and offset of y = (x - mean) * factor + offset
    void* running_mean;  // updated where not null
    void* running_var;
    double momentum;
    double correction;
    bool round_statistics;  // to the compute type, as the forward returns them
    bool stream;
};

// The gradient. `forward` has x, the weight and the statistics.
//   channel_sums, over blocks, in the partials (one block an outer index where plane gradients are wanted):
//     of planes the moments of x, sum dy and sum dy * (x - mean) around the block's own mean; of columns sums
//     of dy, dy * (x - mean) and x - mean around the channel's.
//   channel_slopes, over channels: from them the statistics, of planes if `recompute`, dweight, dbias and dx
//   =
//     dy * rstd * weight + (x - mean) * slope + offset.
//   channel_gradient, over tiles: dx.
//   channel_norm_backward, over groups of planes: all of these, with partials of its own in scratch.
struct ChannelBackward {
    ChannelForward forward;
    bool recompute;  // planes
    bool through;    // the statistics are functions of x: slope and offset are not 0
    bool sums;       // the sums are wanted: for the above or for dweight and dbias
    Operand dy, dx;
    double* partials;      // backward_kinds x blocks x columns
    double* slope;         // one a channel
    double* offset;        // one a channel
    double* coefficients;  // columns: 4 x columns, mean, factor, slope and offset
    void* dweight;         // one a channel, compute type, or null
    void* dbias;
    double* plane_dweight;  // the shares of each plane in (outer, channels) order of rows, or null
    double* plane_dbias;
    bool stream;
};

// The kinds of partial sums that channel_sums leaves.
FASTNORM_INLINE constexpr int backward_kinds(const Channels& size) { return size.planes ? 4 : 3; }

// Scratch of the kernels beyond packed tiles.
FASTNORM_INLINE constexpr std::int64_t moments_scratch_bytes(const Channels& size) {
    return (size.planes ? 2 * size.blocks() * size.group : size.columns()) * 8;
}
FASTNORM_INLINE constexpr std::int64_t sums_scratch_bytes(const Channels& size) {
    return backward_kinds(size) * size.blocks() * size.group * 8;
}

}  // namespace fastnorm
