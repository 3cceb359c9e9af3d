// batch_norm, group_norm and instance_norm as a call plans them: the task, and the memory and geometry that
// it needs besides arguments and results.
#pragma once

#include "plan/channels.h"

namespace fastnorm {

// Statistics that are not those of x: mean and rstd of each channel, or mean and variance; of one axis, in
// float32 or float64.
struct GivenStatistics {
    View mean, second;
    bool is_variance;
};

// The caller sets weight, bias, eps, what is to become of the running arrays, and given statistics.
class ChannelNormForward {
public:
    // `size` as channels_of or groups_of tells, `axis` the channels'. `warm`: y may be written past the
    // cache.
    ChannelNormForward(const Channels& size, int axis, const View& x, const View& y, bool warm);

    explicit operator bool() const { return bool(numbers_); }  // false where there is no memory
    void use(const GivenStatistics& statistics);
    double nanoseconds() const { return channel_forward_nanoseconds(task.size, from_x_); }

    // Statistics (NaN where x has no elements) and y. False where there is no memory for scratch.
    bool run() noexcept;

    ChannelForward task = {};

private:
    Geometry geometry_;
    Numbers numbers_;
    Element element_;
    std::int64_t packing_;
    bool from_x_ = true;
};

// The caller sets weight and eps of task.forward, and given statistics.
class ChannelNormBackward {
public:
    // The gradients of the parameters are contiguous, of the compute type, or null. `through`: the statistics
    // are functions of x.
    ChannelNormBackward(
        const Channels& size, int axis, const View& dy, const View& x, const View& dx, void* dweight,
        void* dbias, bool through, bool warm
    );

    explicit operator bool() const { return bool(numbers_); }
    void use(const GivenStatistics& statistics);
    double nanoseconds() const { return channel_backward_nanoseconds(task.forward.size, from_x_); }
    bool run() noexcept;

    ChannelBackward task = {};

private:
    Geometry geometry_;
    std::int64_t planes_;  // whose shares of the parameters' gradients are kept: of group_norm
    std::int64_t single_;  // weights of channels of one value, whose dx is 0 whatever they are
    Numbers numbers_;
    Element element_;
    std::int64_t packing_;
    void *dweight_, *dbias_;
    bool from_x_ = true;
};

// Numbers rounded to a compute type.
void round_numbers(const double* numbers, std::int64_t count, Element compute, void* rounded);

}  // namespace fastnorm
