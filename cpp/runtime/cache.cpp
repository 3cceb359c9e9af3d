#include "cache.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mutex>

#include "cpu.h"

#if defined(_WIN32)
#include <malloc.h>
#else
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace fastnorm {
namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr std::size_t huge_page = 2 * mebibyte;
constexpr std::size_t largest_request = std::numeric_limits<std::size_t>::max() / 4;

#if defined(_WIN32)

void* map(std::size_t bytes, std::size_t) noexcept { return _aligned_malloc(bytes, huge_page); }
void unmap(void* data, std::size_t) noexcept { _aligned_free(data); }

#else

// The first `used` of the bytes are about to be written.
void* map(std::size_t bytes, std::size_t used) noexcept {
    const std::size_t padded = bytes + huge_page;
    void* const mapped = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char* const begin = static_cast<char*>(mapped);
    const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
    char* const data = begin + before;
    if (before != 0) munmap(begin, before);
    munmap(data + bytes, padded - before - bytes);  // never empty, as before < huge_page

    [[maybe_unused]] const std::size_t in_huge_pages = bytes / huge_page * huge_page;
#if defined(MADV_HUGEPAGE)
    if (in_huge_pages != 0) madvise(data, in_huge_pages, MADV_HUGEPAGE);
#endif
#if defined(__linux__)
    // The small pages at the end are fetched in one go, at half the price of one fault for each (1 MiB: 160
    // instead of 300 us). The huge pages are not: there the threads of the op share the clearing when they
    // write (256 MiB: 36 ms instead of 74). The name is missing from older headers, and older kernels refuse
    // it, which does no harm.
    constexpr int madv_populate_write = 23;
    if (used > in_huge_pages) madvise(data + in_huge_pages, used - in_huge_pages, madv_populate_write);
#else
    (void)used;
#endif
    return data;
}

void unmap(void* data, std::size_t bytes) noexcept { munmap(data, bytes); }

#endif

struct KeptBlock {
    void* data;
    std::size_t bytes;
};

// Constant-initialised and without a destructor: results may be released at any time of the process's life,
// also by daemon threads during its exit. The fork handlers need the mutex before the first use.
class Cache {
public:
    Block acquire(std::size_t bytes) noexcept {
        const std::size_t size = block_bytes(bytes);
        if (size == 0) return {};
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            // The newest first: its pages are the likeliest to be in the processor's caches.
            for (std::size_t i = count_; i-- > 0;) {
                if (blocks_[i].bytes != size) continue;
                ++hits_;
                return {remove(i).data, true};
            }
            ++misses_;
        }
        void* data = map(size, bytes);
        if (data == nullptr) {
            shrink(0);
            data = map(size, bytes);
        }
        return {data, false};
    }

    void release(void* data, std::size_t bytes) noexcept {
        if (data == nullptr) return;
        const std::size_t size = block_bytes(bytes);
        std::unique_lock<std::mutex> lock(mutex_);
        while (size <= limit() && (held_ > limit() - size || count_ == most_blocks)) {
            const KeptBlock oldest = remove(0);
            lock.unlock();  // unmapping takes milliseconds
            unmap(oldest.data, oldest.bytes);
            lock.lock();
        }
        if (size <= limit()) {
            blocks_[count_++] = {data, size};
            held_ += size;
        } else {
            lock.unlock();
            unmap(data, size);
        }
    }

    // Unmaps the oldest blocks until no more than `keep` bytes are held.
    void shrink(std::size_t keep) noexcept {
        for (;;) {
            std::unique_lock<std::mutex> lock(mutex_);
            if (held_ <= keep) return;
            const KeptBlock oldest = remove(0);
            lock.unlock();
            unmap(oldest.data, oldest.bytes);
        }
    }

    void set_limit(std::size_t bytes) noexcept {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            limit_ = bytes;
            limit_known_ = true;
        }
        shrink(bytes);
    }

    CacheInfo info() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return {limit(), held_, hits_, misses_};
    }

    void before_fork() noexcept { mutex_.lock(); }
    void after_fork_in_parent() noexcept { mutex_.unlock(); }

    // Shared with the parent, each page would be copied when either of them writes to it again. So the child
    // lets go, and the parent has its blocks to itself.
    void after_fork_in_child() noexcept {
        for (std::size_t i = 0; i < count_; ++i) unmap(blocks_[i].data, blocks_[i].bytes);
        count_ = 0;
        held_ = 0;
        mutex_.unlock();
    }

private:
    // All below with the mutex held.

    std::size_t limit() noexcept {
        if (!limit_known_) {
            const char* const text = std::getenv("FASTNORM_CACHE_MB");
            if (text == nullptr || !parse_cache_mb(text, limit_)) {
                const std::size_t memory = available_memory();
                limit_ = memory == 0 ? 1024 * mebibyte : std::min(1024 * mebibyte, memory / 8);
            }
            limit_known_ = true;
        }
        return limit_;
    }

    KeptBlock remove(std::size_t index) noexcept {
        const KeptBlock block = blocks_[index];
        std::copy(blocks_ + index + 1, blocks_ + count_, blocks_ + index);
        --count_;
        held_ -= block.bytes;
        return block;
    }

    static constexpr std::size_t most_blocks = 1024;

    std::mutex mutex_;
    KeptBlock blocks_[most_blocks] = {};  // the oldest first
    std::size_t count_ = 0;
    std::size_t held_ = 0;
    std::size_t limit_ = 0;
    bool limit_known_ = false;
    std::uint64_t hits_ = 0;
    std::uint64_t misses_ = 0;
};

Cache cache;

#if !defined(_WIN32)
[[maybe_unused]] const int fork_handlers = pthread_atfork(
    [] { cache.before_fork(); }, [] { cache.after_fork_in_parent(); }, [] { cache.after_fork_in_child(); }
);
#endif

}  // namespace

std::size_t block_bytes(std::size_t bytes) noexcept {
    if (bytes > largest_request) return 0;
    bytes = std::max(bytes, smallest_cached_bytes);
    // Steps of an eighth of the power of two below.
    std::size_t step = smallest_cached_bytes / 8;
    while (bytes / 16 >= step) step *= 2;
    return (bytes + step - 1) / step * step;
}

bool parse_cache_mb(const char* text, std::size_t& bytes) noexcept {
    if (*text == '\0') return false;
    constexpr std::size_t largest = std::numeric_limits<std::size_t>::max() / mebibyte;
    std::size_t mb = 0;
    for (; *text != '\0'; ++text) {
        if (*text < '0' || *text > '9') return false;
        mb = std::min(largest, mb > largest / 10 ? largest : mb * 10 + static_cast<std::size_t>(*text - '0'));
    }
    bytes = mb * mebibyte;
    return true;
}

std::string cache_environment_error() {
    const char* const text = std::getenv("FASTNORM_CACHE_MB");
    std::size_t bytes;
    if (text == nullptr || *text == '\0' || parse_cache_mb(text, bytes)) return {};
    return "FASTNORM_CACHE_MB is '" + std::string(text) + "', needs an integer >= 0";
}

Block acquire_block(std::size_t bytes) noexcept { return cache.acquire(bytes); }
void release_block(void* data, std::size_t bytes) noexcept { cache.release(data, bytes); }
void clear_cache() noexcept { cache.shrink(0); }
CacheInfo cache_info() noexcept { return cache.info(); }
void set_cache_limit(std::size_t bytes) noexcept { cache.set_limit(bytes); }

}  // namespace fastnorm
