// What a fuzz target makes of its bytes: choices, and arrays of any layout in memory that fits them exactly.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "guarded.h"
#include "plan/view.h"

namespace {

using namespace fastnorm;

using Shape = std::vector<std::ptrdiff_t>;

// The bytes of an input, one a choice; zeros once they are used up.
class Source {
public:
    Source(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    std::int64_t below(std::int64_t count) { return byte() % count; }
    bool flag() { return byte() & 1; }
    template <class T, std::size_t n>
    T one_of(const T (&values)[n]) {
        return values[below(std::int64_t(n))];
    }
    Element element() { return Element(below(element_count)); }

    // Around the sizes of registers, tiles and blocks.
    std::int64_t extent() {
        constexpr std::int64_t extents[] = {1, 2, 3, 5, 0, 8, 15, 16, 17, 33, 48, 64, 65, 100, 129, 257};
        return one_of(extents);
    }
    // Of at most `limit` elements, whose last extents give way to ones.
    Shape shape(int least_axes, int most_axes, std::int64_t limit = 6000) {
        Shape shape(std::size_t(least_axes + below(most_axes - least_axes + 1)));
        std::int64_t size = 1;
        for (std::ptrdiff_t& length : shape) {
            length = extent();
            if (length * size > limit) length = 1;
            if (length > 0) size *= length;
        }
        return shape;
    }
    Axes axes(int ndim) {
        Axes axes;
        const std::uint8_t chosen = byte();
        for (int i = 0; i < ndim; ++i) {
            if (chosen >> i & 1) axes.axis[axes.count++] = i;
        }
        return axes;
    }

private:
    std::uint8_t byte() {
        if (size_ == 0) return 0;
        --size_;
        return *data_++;
    }

    const std::uint8_t* data_;
    std::size_t size_;
};

// How an input is run: in the layouts its bytes tell on threads, or in C order on one; the results must have
// the same bits.
struct Run {
    Source source;
    bool plain;
    std::uint64_t digest = 14695981039346656037u;
    int arrays = 0;

    void add(const void* data, std::size_t size) {
        const auto* bytes = static_cast<const std::uint8_t*>(data);
        for (std::size_t i = 0; i < size; ++i) digest = (digest ^ bytes[i]) * 1099511628211u;
    }
    template <class T>
    void add(T value) {
        add(&value, sizeof value);
    }
};

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::abort();
}

// An array of a run, of finite numbers or not written yet.
class FuzzArray {
public:
    FuzzArray(Run& run, Shape shape, Element element, bool filled = true)
        : shape_(std::move(shape)), strides_(shape_.size()), element_(element) {
        const int ndim = int(shape_.size());
        std::vector<std::size_t> order(shape_.size());
        for (int i = 0; i < ndim; ++i) order[std::size_t(i)] = std::size_t(ndim - 1 - i);
        const std::int64_t turns = run.source.below(8), gap = 1 + run.source.below(3) / 2,
                           backwards = run.source.below(8), place = run.source.below(4);
        if (!run.plain) {
            for (std::size_t i = 0; i + 1 < order.size(); ++i) {
                if (turns >> i & 1) std::swap(order[i], order[i + 1]);
            }
        }
        std::ptrdiff_t step = item_size(element) * (run.plain ? 1 : gap), last = 0, first = 0;
        for (const std::size_t axis : order) {
            strides_[axis] = step;
            last += (shape_[axis] > 0 ? shape_[axis] - 1 : 0) * step;
            step *= shape_[axis] > 0 ? shape_[axis] : 1;
            if (!run.plain && (backwards >> (axis % 3) & 1) && shape_[axis] > 1) {
                first += (shape_[axis] - 1) * step / shape_[axis];
                strides_[axis] = -strides_[axis];
            }
        }
        const bool at_end = run.plain || !(place & 1);
        const std::size_t crooked = !run.plain && (place & 2) ? 1 : 0;
        const std::size_t bytes = View(*this).size() > 0 ? std::size_t(last + item_size(element)) : 0;
        memory_ = std::make_unique<Guarded>(bytes + crooked, at_end);
        start_ = memory_->data() + (at_end ? 0 : std::ptrdiff_t(crooked)) + first;
        std::ptrdiff_t dense = item_size(element);
        for (int i = ndim; i-- > 0;) {
            contiguous_ = contiguous_ && (strides_[std::size_t(i)] == dense || shape_[std::size_t(i)] == 1);
            dense *= shape_[std::size_t(i)];
        }
        contiguous_ = contiguous_ || View(*this).size() == 0;
        if (filled) fill(std::uint64_t(++run.arrays));
        before_ = memory_->content();
    }

    operator View() const {
        return {start_, element_, int(shape_.size()), shape_.data(), strides_.data(), contiguous_};
    }
    std::int64_t size() const { return View(*this).size(); }
    const Shape& shape() const { return shape_; }

    // The element of a number in C order; the place of an array without elements.
    char* at(std::int64_t number) const {
        char* address = start_;
        if (size() == 0) return address;
        for (std::size_t i = shape_.size(); i-- > 0;) {
            address += number % shape_[i] * strides_[i];
            number /= shape_[i];
        }
        return address;
    }

    // Adds what a call has written: every element, and nothing between them.
    void add_to(Run& run) const {
        std::string after = memory_->content();
        for (std::int64_t i = 0; i < size(); ++i) {
            run.add(at(i), std::size_t(item_size(element_)));
            const std::size_t offset = std::size_t(at(i) - memory_->data());
            after.replace(offset, std::size_t(item_size(element_)), std::size_t(item_size(element_)), '\xff');
        }
        for (const char byte : after) {
            if (byte != '\xff') fail("a call writes between the elements of its result");
        }
    }
    // An input after a call.
    void check_unchanged() const {
        if (memory_->content() != before_) fail("a call changes its input");
    }

private:
    // Numbers between -2 and 2, more of them small than large.
    void fill(std::uint64_t seed) {
        std::uint64_t state = 0x9e3779b97f4a7c15u * seed;
        for (std::int64_t i = 0; i < size(); ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const double share = double(std::int64_t(state >> 11)) * 0x1p-52 - 1;
            put(at(i), 2 * share * share * share);
        }
    }
    void put(char* target, double value) const {
        const float narrow = float(value);
        std::uint32_t bits;
        std::memcpy(&bits, &narrow, 4);
        if (element_ == Element::float64) {
            std::memcpy(target, &value, 8);
        } else if (element_ == Element::float32) {
            std::memcpy(target, &narrow, 4);
        } else {
            // Cut off; what float16 has no exponent for becomes zero.
            const std::uint32_t exponent = bits >> 23 & 0xff;
            const std::uint32_t half = exponent < 113 ? 0 : (exponent - 112) << 10 | (bits >> 13 & 0x3ff);
            const std::uint16_t stored =
                std::uint16_t(element_ == Element::bfloat16 ? bits >> 16 : (bits >> 16 & 0x8000) | half);
            std::memcpy(target, &stored, 2);
        }
    }

    Shape shape_, strides_;
    Element element_;
    std::unique_ptr<Guarded> memory_;
    std::string before_;
    char* start_;
    bool contiguous_ = true;
};

}  // namespace
