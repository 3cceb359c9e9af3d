// Memory beside a page that must not be touched.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

namespace {

// Memory that ends (or begins) at a page that must not be touched. What lies between its other end and the
// page there must not be written.
class Guarded {
public:
    Guarded(std::size_t bytes, bool at_end) {
        const std::size_t page = std::size_t(sysconf(_SC_PAGESIZE));
        pages_ = (bytes + page - 1) / page * page;
        length_ = pages_ + 2 * page;
        base_ = static_cast<char*>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        first_ = base_ + page;
        data_ = first_ + (at_end ? pages_ - bytes : 0);
        bytes_ = bytes;
        if (pages_ == 0) return;
        mprotect(first_, pages_, PROT_READ | PROT_WRITE);
        std::memset(first_, 0xff, pages_);  // NaN in every element type
    }
    ~Guarded() {
        const char* const slack = data_ > first_ ? first_ : data_ + bytes_;
        static const std::string unwritten(std::size_t(sysconf(_SC_PAGESIZE)), '\xff');
        if (pages_ > bytes_) CHECK(std::memcmp(slack, unwritten.data(), pages_ - bytes_) == 0);
        munmap(base_, length_);
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    char* data() const { return data_; }
    std::string content() const { return std::string(data_, bytes_); }

private:
    char *base_, *first_, *data_;
    std::size_t length_, pages_, bytes_;
};

}  // namespace
