// Arrays for the tests of planning: elements in memory of their own, with any order of axes, gaps between
// elements, and axes walked backwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "plan/view.h"

namespace {

using namespace fastnorm;

enum class Walk { c_order, reversed_axes, spread, backwards };

class TestView {
public:
    TestView(std::vector<std::ptrdiff_t> shape, Element element, Walk walk = Walk::c_order)
        : shape_(std::move(shape)), strides_(shape_.size()), element_(element) {
        const int ndim = int(shape_.size());
        std::ptrdiff_t step = item_size(element) * (walk == Walk::spread ? 2 : 1);
        for (int i = 0; i < ndim; ++i) {
            const std::size_t axis = std::size_t(walk == Walk::reversed_axes ? i : ndim - 1 - i);
            strides_[axis] = step;
            step *= shape_[axis] > 0 ? shape_[axis] : 1;
        }
        memory_.resize(std::size_t(step + 64));
        start_ = memory_.data() + (64 - reinterpret_cast<std::uintptr_t>(memory_.data()) % 64) % 64;
        if (walk == Walk::backwards && ndim > 0 && shape_[0] > 0) {
            start_ += (shape_[0] - 1) * strides_[0];
            strides_[0] = -strides_[0];
        }
        is_contiguous_ = walk == Walk::c_order;
    }

    operator View() const {
        return {start_, element_, int(shape_.size()), shape_.data(), strides_.data(), is_contiguous_};
    }
    std::int64_t size() const { return View(*this).size(); }

    // The element of a number in C order.
    char* at(std::int64_t number) const {
        char* address = start_;
        for (std::size_t i = shape_.size(); i-- > 0;) {
            address += number % shape_[i] * strides_[i];
            number /= shape_[i];
        }
        return address;
    }
    void set(std::int64_t number, double value) const {
        const float narrow = float(value);
        if (element_ == Element::float64) {
            std::memcpy(at(number), &value, 8);
        } else {
            std::memcpy(at(number), &narrow, 4);
        }
    }
    double get(std::int64_t number) const {
        double value;
        float narrow;
        std::memcpy(&narrow, at(number), 4);
        if (element_ != Element::float64) return double(narrow);
        std::memcpy(&value, at(number), 8);
        return value;
    }
    // Numbers between -1 and 1, the same for the same seed.
    TestView& fill(std::uint64_t seed) {
        std::uint64_t state = 0x9e3779b97f4a7c15u * (seed + 1);
        for (std::int64_t i = 0; i < size(); ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            set(i, double(std::int64_t(state >> 11)) * 0x1p-52 - 1);
        }
        return *this;
    }

private:
    std::vector<std::ptrdiff_t> shape_, strides_;
    Element element_;
    std::vector<char> memory_;
    char* start_;
    bool is_contiguous_;
};

inline Axes axes_of(std::initializer_list<int> numbers) {
    Axes axes;
    for (const int axis : numbers) axes.axis[axes.count++] = axis;
    return axes;
}

}  // namespace
