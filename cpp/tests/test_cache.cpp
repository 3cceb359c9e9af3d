#include "../runtime/cache.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "environment.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

using namespace fastnorm;

namespace {

constexpr std::size_t MiB = std::size_t{1} << 20;

// Each test starts with an empty cache of a known limit.
void reset(std::size_t limit) {
    clear_cache();
    set_cache_limit(limit);
}

void* fresh(std::size_t bytes) {
    const Block block = acquire_block(bytes);
    CHECK(block.data != nullptr);
    CHECK(!block.warm);
    return block.data;
}

#if defined(__linux__)
// mincore fails for addresses that are not mapped.
bool is_mapped(void* data) {
    unsigned char resident;
    return mincore(data, 1, &resident) == 0;
}
#endif

void test_block_sizes() {
    CHECK(block_bytes(0) == MiB);
    CHECK(block_bytes(1) == MiB);
    CHECK(block_bytes(MiB) == MiB);
    CHECK(block_bytes(MiB + 1) == MiB + MiB / 8);
    CHECK(block_bytes(256 * MiB) == 256 * MiB);
    CHECK(block_bytes(256 * MiB + 1) == 288 * MiB);
    for (std::size_t bytes = MiB; bytes < 1024 * MiB; bytes += bytes / 37 + 1) {
        const std::size_t size = block_bytes(bytes);
        CHECK(size >= bytes && size - bytes <= bytes / 8);
        CHECK(size % 4096 == 0);
        CHECK(block_bytes(size) == size);
    }
    CHECK(block_bytes(std::numeric_limits<std::size_t>::max()) == 0);
    CHECK(block_bytes(std::numeric_limits<std::size_t>::max() / 2) == 0);
}

void test_blocks_are_aligned_writeable_and_apart() {
    reset(0);
    struct Piece {
        unsigned char* data;
        std::size_t bytes;
    };
    std::vector<Piece> pieces;
    for (const std::size_t bytes : {std::size_t{1}, MiB, MiB + 1, 2 * MiB, 3 * MiB + 5, 16 * MiB, 33 * MiB}) {
        auto* const data = static_cast<unsigned char*>(fresh(bytes));
        CHECK(reinterpret_cast<std::uintptr_t>(data) % (2 * MiB) == 0);
        std::memset(data, static_cast<int>(pieces.size()), block_bytes(bytes));
        pieces.push_back({data, bytes});
    }
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        CHECK(pieces[i].data[0] == i);
        CHECK(pieces[i].data[block_bytes(pieces[i].bytes) - 1] == i);
        release_block(pieces[i].data, pieces[i].bytes);
    }
}

void test_a_released_block_is_used_again() {
    reset(64 * MiB);
    const CacheInfo before = cache_info();
    void* const first = fresh(8 * MiB);
    CHECK(cache_info().held_bytes == 0);
    release_block(first, 8 * MiB);
    CHECK(cache_info().held_bytes == 8 * MiB);
    // A slightly smaller result fits, one more than an eighth smaller or larger does not.
    Block block = acquire_block(8 * MiB - 1000);
    CHECK(block.data == first);
    CHECK(block.warm);
    CHECK(cache_info().held_bytes == 0);
    release_block(block.data, 8 * MiB - 1000);
    void* const smaller = fresh(6 * MiB);
    void* const larger = fresh(8 * MiB + 1);
    CHECK(smaller != first && larger != first);
    // Two results that live at the same time never share one.
    block = acquire_block(8 * MiB);
    CHECK(block.data == first);
    void* const second = fresh(8 * MiB);
    CHECK(second != first);
    const CacheInfo after = cache_info();
    CHECK(after.hits - before.hits == 2);
    CHECK(after.misses - before.misses == 4);
    release_block(smaller, 6 * MiB);
    release_block(larger, 8 * MiB + 1);
    release_block(first, 8 * MiB);
    release_block(second, 8 * MiB);
    // The newest comes back first.
    CHECK(acquire_block(8 * MiB).data == second);
    CHECK(acquire_block(8 * MiB).data == first);
    release_block(first, 8 * MiB);
    release_block(second, 8 * MiB);
    release_block(nullptr, 8 * MiB);
    CHECK(cache_info().held_bytes == 31 * MiB);
}

void test_limit_and_eviction() {
    reset(10 * MiB);
    void* const a = fresh(4 * MiB);
    void* const b = fresh(4 * MiB);
    void* const c = fresh(4 * MiB);
    release_block(a, 4 * MiB);
    release_block(b, 4 * MiB);
    CHECK(cache_info().held_bytes == 8 * MiB);
    release_block(c, 4 * MiB);
    CHECK(cache_info().held_bytes == 8 * MiB);
    // The oldest, a, had to go.
#if defined(__linux__)
    CHECK(!is_mapped(a));
    CHECK(is_mapped(b));
    CHECK(is_mapped(c));
#endif
    // What exceeds the limit alone is not kept and drives nothing out.
    void* const big = fresh(12 * MiB);
    release_block(big, 12 * MiB);
    CHECK(cache_info().held_bytes == 8 * MiB);
    CHECK(cache_info().limit_bytes == 10 * MiB);
    // Exactly the limit fits and drives out the rest.
    void* const full = fresh(10 * MiB);
    release_block(full, 10 * MiB);
    CHECK(cache_info().held_bytes == 10 * MiB);
#if defined(__linux__)
    CHECK(!is_mapped(big));
    CHECK(!is_mapped(b));
    CHECK(!is_mapped(c));
#endif
    // A lower limit takes effect at once.
    set_cache_limit(9 * MiB);
    CHECK(cache_info().held_bytes == 0);
}

void test_clear() {
    reset(64 * MiB);
    void* const a = fresh(4 * MiB);
    void* const in_use = fresh(5 * MiB);
    std::memset(in_use, 7, 5 * MiB);
    release_block(a, 4 * MiB);
    clear_cache();
    CHECK(cache_info().held_bytes == 0);
    CHECK(cache_info().limit_bytes == 64 * MiB);
#if defined(__linux__)
    CHECK(!is_mapped(a));
#endif
    CHECK(static_cast<unsigned char*>(in_use)[5 * MiB - 1] == 7);
    release_block(in_use, 5 * MiB);
    CHECK(cache_info().held_bytes == 5 * MiB);
}

void test_zero_limit_keeps_nothing() {
    reset(0);
    void* const a = fresh(4 * MiB);
    std::memset(a, 1, 4 * MiB);
    release_block(a, 4 * MiB);
    CHECK(cache_info().held_bytes == 0);
#if defined(__linux__)
    CHECK(!is_mapped(a));
#endif
    release_block(fresh(4 * MiB), 4 * MiB);
}

void test_many_blocks() {
    reset(4096 * MiB);
    constexpr std::size_t count = 1100;  // more than the cache has places for; the pages are never touched
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < count; ++i) blocks.push_back(fresh(2 * MiB));
    for (void* block : blocks) release_block(block, 2 * MiB);
    const std::size_t held = cache_info().held_bytes / (2 * MiB);
    CHECK(held >= 1000 && held < count);
    CHECK(acquire_block(2 * MiB).data == blocks.back());
    release_block(blocks.back(), 2 * MiB);
}

void test_impossible_sizes_fail() {
    reset(64 * MiB);
    release_block(fresh(4 * MiB), 4 * MiB);
    CHECK(acquire_block(std::numeric_limits<std::size_t>::max()).data == nullptr);
    CHECK(acquire_block(std::numeric_limits<std::size_t>::max() / 4).data == nullptr);
    // Before it gave up it tried again without what it kept.
    CHECK(cache_info().held_bytes == 0);
    release_block(fresh(4 * MiB), 4 * MiB);
}

void test_environment() {
    std::size_t bytes = 77;
    CHECK(parse_cache_mb("0", bytes) && bytes == 0);
    CHECK(parse_cache_mb("256", bytes) && bytes == 256 * MiB);
    CHECK(
        parse_cache_mb("99999999999999999999999999", bytes) &&
        bytes >= std::numeric_limits<std::size_t>::max() / 2
    );
    for (const char* garbage : {"", "-1", "1.5", "64MB", " 64", "abc", "0x10"})
        CHECK(!parse_cache_mb(garbage, bytes));

    set_variable("FASTNORM_CACHE_MB", "12");
    CHECK(cache_environment_error().empty());
    set_variable("FASTNORM_CACHE_MB", "");
    CHECK(cache_environment_error().empty());
    set_variable("FASTNORM_CACHE_MB", "lots");
    CHECK(cache_environment_error() == "FASTNORM_CACHE_MB is 'lots', needs an integer >= 0");
    unset_variable("FASTNORM_CACHE_MB");
    CHECK(cache_environment_error().empty());
}

void test_many_threads() {
    reset(24 * MiB);
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([t] {
            bool whole = true;
            for (int i = 0; i < 200; ++i) {
                const std::size_t bytes = static_cast<std::size_t>(1 + (i * 7 + t) % 5) * MiB;
                const Block block = acquire_block(bytes);
                auto* const words = static_cast<int*>(block.data);
                const std::size_t last = bytes / sizeof(int) - 1;
                words[0] = words[last] = t * 1000 + i;
                std::this_thread::yield();
                whole = whole && words[0] == t * 1000 + i && words[last] == t * 1000 + i;
                release_block(block.data, bytes);
            }
            CHECK(whole);
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(cache_info().held_bytes <= 24 * MiB);
    CHECK(cache_info().hits > 0);
}

#if FASTNORM_TEST_FORK
// The limit that a process finds in its environment. Must come before anything else has asked for the limit.
void test_limit_from_environment() {
    const auto limit_with = [](const char* text, std::size_t expected) {
        return check::passes_in_child([=] {
            set_variable("FASTNORM_CACHE_MB", text);
            CHECK(cache_info().limit_bytes == expected);
        });
    };
    CHECK(limit_with("12", 12 * MiB));
    CHECK(limit_with("0", 0));
    CHECK(check::passes_in_child([] {
        unset_variable("FASTNORM_CACHE_MB");
        const std::size_t usual = cache_info().limit_bytes;
        CHECK(usual > 0 && usual <= 1024 * MiB);
    }));
}

void test_fork() {
    reset(64 * MiB);
    void* const kept = fresh(4 * MiB);
    auto* const in_use = static_cast<unsigned char*>(fresh(8 * MiB));
    std::memset(kept, 5, 4 * MiB);
    std::memset(in_use, 9, 8 * MiB);
    release_block(kept, 4 * MiB);
    CHECK(check::passes_in_child([&] {
        CHECK(cache_info().held_bytes == 0);
        CHECK(in_use[8 * MiB - 1] == 9);
        void* const own = fresh(4 * MiB);
        std::memset(own, 1, 4 * MiB);
        release_block(own, 4 * MiB);
        release_block(in_use, 8 * MiB);
        CHECK(cache_info().held_bytes == 12 * MiB);
    }));
    CHECK(cache_info().held_bytes == 4 * MiB);
    CHECK(static_cast<unsigned char*>(kept)[4 * MiB - 1] == 5);
    CHECK(in_use[0] == 9);
    release_block(in_use, 8 * MiB);
}

// Whatever another thread is doing in the cache, a child can use it.
void test_fork_under_load() {
    reset(16 * MiB);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
            while (!stop) {
                const Block block = acquire_block(2 * MiB);
                release_block(block.data, 2 * MiB);
            }
        });
    }
    for (int i = 0; i < 100; ++i) {
        CHECK(check::passes_in_child([] {
            const Block block = acquire_block(2 * MiB);
            CHECK(block.data != nullptr);
            release_block(block.data, 2 * MiB);
            CHECK(cache_info().held_bytes == 2 * MiB);
        }));
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
}
#endif

}  // namespace

int main() {
#if FASTNORM_TEST_FORK
    test_limit_from_environment();
#else
    std::printf("the tests with fork are left out of this build\n");
#endif
    test_block_sizes();
    test_blocks_are_aligned_writeable_and_apart();
    test_a_released_block_is_used_again();
    test_limit_and_eviction();
    test_clear();
    test_zero_limit_keeps_nothing();
    test_many_blocks();
    test_impossible_sizes_fail();
    test_environment();
    test_many_threads();
#if FASTNORM_TEST_FORK
    test_fork();
    test_fork_under_load();
#endif
    return check::report();
}
