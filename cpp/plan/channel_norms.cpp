#include "plan/channel_norms.h"

#include <cmath>
#include <cstring>

#include "plan/norms.h"

namespace fastnorm {

namespace {

void copy_numbers(const View& from, double* to) {
    const char* element = from.data;
    for (std::int64_t i = 0; i < from.shape[0]; ++i, element += from.strides[0]) {
        to[i] = from.element == Element::float64 ? *reinterpret_cast<const double*>(element)
                                                 : double(*reinterpret_cast<const float*>(element));
    }
}

void take_statistics(ChannelForward& task, const GivenStatistics& statistics) {
    copy_numbers(statistics.mean, task.mean);
    if (statistics.is_variance) {
        copy_numbers(statistics.second, task.m2);
        task.count = 1;
    } else {
        copy_numbers(statistics.second, task.rstd);
        task.m2 = nullptr;
    }
}

bool is_empty(const Channels& size) { return size.count() * double(size.channels) == 0; }

// Shares of planes are wanted of group_norm, where a channel has more than one weight.
std::int64_t shared_planes(const Channels& size, bool wanted) {
    return wanted && size.grouped() ? size.outer * size.channels : 0;
}

std::int64_t weights_of(const Channels& size) {
    return size.grouped() ? size.weight_period * size.outer : size.channels;
}

void clear(void* gradient, const Channels& size, Element compute) {
    if (gradient) std::memset(gradient, 0, std::size_t(weights_of(size) * item_size(compute)));
}

}  // namespace

ChannelNormForward::ChannelNormForward(
    const Channels& size, int axis, const View& x, const View& y, bool warm
)
    : numbers_(forward_numbers(size)), element_(x.element) {
    if (!numbers_) return;
    const View* const arrays[] = {&x, &y};
    task.size = size;
    describe_channels(task.size, geometry_, arrays, 2, axis);
    packing_ = packing_bytes(geometry_, 2, item_size(element_));
    task.count = size.count();
    place_numbers(task, numbers_);
    task.x = geometry_.operands[0];
    task.y = geometry_.operands[1];
    task.stream = warm && 2 * x.bytes() > stream_bytes && x.data != y.data && task.y.contiguous;
}

bool ChannelNormForward::run() noexcept {
    if (given_) take_statistics(task, *given_);
    if (!is_empty(task.size)) return run_channel_forward(task, element_, packing_, !given_);
    if (given_) return run_statistics(task, element_);
    for (std::int64_t c = 0; c < task.size.channels; ++c) task.mean[c] = task.rstd[c] = std::nan("");
    return true;
}

ChannelNormBackward::ChannelNormBackward(
    const Channels& size, int axis, const View& dy, const View& x, const View& dx, void* dweight, void* dbias,
    bool through, bool warm
)
    : planes_(shared_planes(size, dweight || dbias)),
      single_(through && size.count() == 1 ? weights_of(size) : 0),
      numbers_(backward_numbers(size) + 2 * planes_ + single_),
      element_(x.element),
      dweight_(dweight),
      dbias_(dbias) {
    if (!numbers_) return;
    const View* const arrays[] = {&dy, &x, &dx};
    ChannelForward& forward = task.forward;
    forward.size = size;
    describe_channels(forward.size, geometry_, arrays, 3, axis);
    packing_ = packing_bytes(geometry_, 3, item_size(element_));
    forward.count = size.count();
    forward.round_statistics = true;
    place_numbers(task, numbers_);
    task.dy = geometry_.operands[0];
    forward.x = geometry_.operands[1];
    forward.y = no_result;
    task.dx = geometry_.operands[2];
    task.stream = warm && 3 * x.bytes() > stream_bytes && task.dx.contiguous;
    task.through = through;
    task.sums = through || dweight || dbias;
    if (planes_ > 0) {
        task.plane_dweight = numbers_.take(planes_);
        task.plane_dbias = numbers_.take(planes_);
    } else {
        task.dweight = dweight;
        task.dbias = dbias;
    }
}

bool ChannelNormBackward::run() noexcept {
    const Channels& size = task.forward.size;
    const Element compute = compute_element(element_);
    if (is_empty(size)) {
        clear(dweight_, size, compute);
        clear(dbias_, size, compute);
        return true;
    }
    if (given_) {
        take_statistics(task.forward, *given_);
        task.forward.round_statistics = false;
    }
    if (single_ > 0) {
        double* const products = numbers_.take(single_);
        multiply_by_zero(task.forward.weight, single_, compute, products);
        task.forward.weight = products;
    }
    if (!run_channel_backward(task, element_, packing_, !given_)) return false;
    if (planes_ > 0 && dweight_) sum_samples(size, task.plane_dweight, compute, dweight_);
    if (planes_ > 0 && dbias_) sum_samples(size, task.plane_dbias, compute, dbias_);
    return true;
}

void round_numbers(const double* numbers, std::int64_t count, Element compute, void* rounded) {
    for (std::int64_t i = 0; i < count; ++i) {
        if (compute == Element::float64) {
            static_cast<double*>(rounded)[i] = numbers[i];
        } else {
            static_cast<float*>(rounded)[i] = float(numbers[i]);
        }
    }
}

}  // namespace fastnorm
