// Memory for large results, recycled.
//
// A fresh result costs one fault for every page and a clearing of the page by the kernel, which take several
// times as long as the computation of a row-wise op: writing 256 MiB with two threads took 78 ms into fresh 4
// KiB pages, 36 ms into fresh huge pages, and 8 ms (non-temporal stores) into a block that had been used
// before. So the block of a result that dies is kept for the next one of about its size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fastnorm {

// Smaller results are better off with malloc, which recycles on its own.
constexpr std::size_t smallest_cached_bytes = std::size_t{1} << 20;

struct Block {
    void* data = nullptr;  // aligned to 2 MiB; null when there is no memory
    // Its pages are in place. A fresh block should be written with ordinary stores whatever its size: the
    // kernel clears each page on the first touch and leaves it in the cache, where non-temporal stores
    // take 1.2 to 3 times as long.
    bool warm = false;
};

// At least `bytes` bytes of any content.
Block acquire_block(std::size_t bytes) noexcept;

// Gives back what acquire_block(bytes) returned; null is fine.
void release_block(void* data, std::size_t bytes) noexcept;

// Returns to the system all blocks that are not in use.
void clear_cache() noexcept;

struct CacheInfo {
    std::size_t limit_bytes;  // the most that is kept
    std::size_t held_bytes;   // kept now; blocks in use do not count
    std::uint64_t hits;
    std::uint64_t misses;
};
CacheInfo cache_info() noexcept;

// The default is FASTNORM_CACHE_MB (MiB), else 1 GiB or an eighth of the memory if that is less: a forward
// and a backward of 16384 x 4096 float32 in turn make two to four results of 256 MiB. With 0 nothing is kept.
void set_cache_limit(std::size_t bytes) noexcept;

// What is wrong with FASTNORM_CACHE_MB, as a message for the user; empty when all is well. A wrong value is
// ignored.
std::string cache_environment_error();

// --- Parts of the above that depend on their arguments alone, so that tests can reach every branch.

// The size of the block for a result of this size (1 MiB or more): at most 1/8 more, so that results of
// nearly the same size share blocks. 0 for sizes that no machine can have.
std::size_t block_bytes(std::size_t bytes) noexcept;

// Whether the text is a number of MiB, and its value in bytes (as large as can be if it does not fit).
bool parse_cache_mb(const char* text, std::size_t& bytes) noexcept;

}  // namespace fastnorm
