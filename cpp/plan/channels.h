// The norms over channels and their moments: from arrays to (outer, channels, inner) values, and the kernels'
// steps.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/channel_norms.h"

namespace fastnorm {

// y where only statistics are wanted: nothing to fetch, nothing to pack.
inline constexpr Operand no_result{nullptr, nullptr, nullptr, true};

// Axes [first, last) are the channels; what is before and after them is averaged over.
Channels channels_of(const View& x, int first, int last);

// group_norm: the channels of a group are averaged over, each with its weight; the channels here are (sample,
// group).
Channels groups_of(const View& x, int axis, std::int64_t num_groups);

// Completes the shape with the arrays' places in memory.
void describe_channels(Channels& size, Geometry& geometry, const View* const* arrays, int count, int axis);

// The numbers that a forward needs besides partial sums, and a backward; where they go in the task.
std::int64_t forward_numbers(const Channels& size);
void place_numbers(ChannelForward& task, Numbers& numbers);
std::int64_t backward_numbers(const Channels& size);
void place_numbers(ChannelBackward& task, Numbers& numbers);

// What all steps take one thread. from_x: the statistics are computed too.
double moments_nanoseconds(const Channels& size);
double channel_forward_nanoseconds(const Channels& size, bool from_x);
double channel_backward_nanoseconds(const Channels& size, bool from_x);

// The mean and the sum of squared deviations of the channels, axes [first, last) of x, in double: 0 where
// there are no elements. False where there is no memory; so for the others.
bool run_moments(const View& x, int first, int last, double* mean, double* m2) noexcept;

// rstd and coefficients from the statistics given in the task.
bool run_statistics(ChannelForward& task, Element element) noexcept;

// y from the statistics: of x itself, merged from it first, or given in task.mean and task.rstd. `packing` is
// the scratch that packing takes.
bool run_channel_forward(ChannelForward& task, Element element, std::int64_t packing, bool from_x) noexcept;

// dx and the sums that the task asks for.
bool run_channel_backward(ChannelBackward& task, Element element, std::int64_t packing, bool from_x) noexcept;

// The gradients of group_norm's parameters, of the compute type, from the shares of the planes, which are
// (place in the group, sample, group).
void sum_samples(const Channels& size, const double* shares, Element compute, void* sums);

}  // namespace fastnorm
