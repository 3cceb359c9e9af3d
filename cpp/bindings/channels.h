// What the bindings of batch_norm, group_norm and moments share: from arrays to (outer, channels, inner)
// values.
#pragma once

#include "bindings/elementwise.h"
#include "bindings/norms.h"
#include "tasks/channel_norms.h"

namespace fastnorm {

// Memory for intermediate sums, as numbers one after another.
class Numbers {
public:
    explicit Numbers(std::int64_t count) : buffer_(std::size_t(count) * sizeof(double)) {}

    explicit operator bool() const { return bool(buffer_); }
    double* take(std::int64_t count) {
        double* const taken = static_cast<double*>(buffer_.data()) + used_;
        used_ += count;
        return taken;
    }

private:
    Buffer buffer_;
    std::int64_t used_ = 0;
};

// y where only statistics are wanted: nothing to fetch, nothing to pack.
inline constexpr Operand no_result{nullptr, nullptr, nullptr, true};

// Axes [first, last) are the channels; what is before and after them is averaged over.
Channels channels_of(const Array& x, int first, int last);

// group_norm: the channels of a group are averaged over, each with its weight; the channels here are (sample,
// group).
Channels groups_of(const Array& x, int axis, std::int64_t num_groups);

// Completes the shape with the arrays' places in memory.
void describe_channels(Channels& size, Geometry& geometry, const Array* arrays, int count, int axis);

bool as_channel_axis(PyObject* slot, int ndim, Axes& axes);

// All axes of an array but these.
Axes other_axes(const Axes& axes, int ndim);

// A new gradient of a parameter, None where it was not given; `values` its memory. Empty with an error set
// where there is none.
Reference channel_gradient_like(const Parameter& parameter, const Array& x, const Axes& axes, void*& values);
void clear_gradient(const Reference& gradient);

// mean and m2 of each channel from x, merged. False with an error set where there is no memory; so for the
// others.
bool run_moments(ChannelForward& task, Element element, std::size_t scratch);

// y from the statistics: of x itself, merged from it first, or given in task.mean and task.rstd. `packing` is
// the scratch that packing takes.
bool run_channel_forward(ChannelForward& task, Element element, std::int64_t packing, bool from_x);

// dx and the sums that the task asks for. from_x: the statistics are computed first.
bool run_channel_backward(ChannelBackward& task, Element element, std::int64_t packing, bool from_x);

}  // namespace fastnorm
