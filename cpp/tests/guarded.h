// Memory beside a page that must not be touched.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "check.h"

namespace {

// Pages of the system, reserved without being accessible.
#if defined(_WIN32)
inline std::size_t page_bytes() {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}
inline char* reserve_pages(std::size_t bytes) {
    return static_cast<char*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE, PAGE_NOACCESS));
}
inline void open_pages(char* first, std::size_t bytes) {
    VirtualAlloc(first, bytes, MEM_COMMIT, PAGE_READWRITE);
}
inline void free_pages(char* first, std::size_t) { VirtualFree(first, 0, MEM_RELEASE); }
#else
inline std::size_t page_bytes() { return std::size_t(sysconf(_SC_PAGESIZE)); }
inline char* reserve_pages(std::size_t bytes) {
    return static_cast<char*>(mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
inline void open_pages(char* first, std::size_t bytes) { mprotect(first, bytes, PROT_READ | PROT_WRITE); }
inline void free_pages(char* first, std::size_t bytes) { munmap(first, bytes); }
#endif

// Memory that ends (or begins) at a page that must not be touched. What lies between its other end and the
// page there must not be written.
class Guarded {
public:
    Guarded(std::size_t bytes, bool at_end) {
        const std::size_t page = page_bytes();
        pages_ = (bytes + page - 1) / page * page;
        length_ = pages_ + 2 * page;
        base_ = reserve_pages(length_);
        first_ = base_ + page;
        data_ = first_ + (at_end ? pages_ - bytes : 0);
        bytes_ = bytes;
        if (pages_ == 0) return;
        open_pages(first_, pages_);
        std::memset(first_, 0xff, pages_);  // NaN in every element type
    }
    ~Guarded() {
        const char* const slack = data_ > first_ ? first_ : data_ + bytes_;
        static const std::string unwritten(page_bytes(), '\xff');
        if (pages_ > bytes_) CHECK(std::memcmp(slack, unwritten.data(), pages_ - bytes_) == 0);
        free_pages(base_, length_);
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
