// Memory of one call: scratch, partial sums and what else lies between arguments and results; and of a packed
// weight.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnorm {

// On the stack of the call while small, else recycled or from the heap; false where there is no memory.
class Buffer {
public:
    explicit Buffer(std::size_t bytes) noexcept;
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* data() const { return data_; }
    explicit operator bool() const { return data_ != nullptr; }

private:
    static constexpr std::size_t inline_bytes = 4096;
    std::size_t bytes_;
    void* data_;
    enum class Origin { inside, heap, cache } origin_;
    alignas(64) char inside_[inline_bytes];
};

// Memory for intermediate sums, as numbers one after another.
class Numbers {
public:
    explicit Numbers(std::int64_t count) noexcept : buffer_(std::size_t(count) * sizeof(double)) {}

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

}  // namespace fastnorm
