// Memory beside a page that must not be touched.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

namespace {

// Memory that ends (or begins) at a page that must not be touched.
class Guarded {
public:
    Guarded(std::size_t bytes, bool at_end) {
        const std::size_t page = std::size_t(sysconf(_SC_PAGESIZE));
        const std::size_t pages = (bytes + page - 1) / page * page;
        length_ = pages + 2 * page;
        base_ = static_cast<char*>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (pages > 0) mprotect(base_ + page, pages, PROT_READ | PROT_WRITE);
        data_ = base_ + page + (at_end ? pages - bytes : 0);
        bytes_ = bytes;
        if (bytes > 0) std::memset(data_, 0xff, bytes);  // NaN in every element type
    }
    ~Guarded() { munmap(base_, length_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    char* data() const { return data_; }
    std::string content() const { return std::string(data_, bytes_); }

private:
    char* base_;
    char* data_;
    std::size_t length_, bytes_;
};

}  // namespace
