// Work over threads: every unit once, in chunks, each range with scratch of its own; nothing where there is
// no memory.
#include "check.h"
#include "plan/run.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

namespace {

using namespace fastnorm;

struct Visits {
    std::vector<std::atomic<int>>* units;
    std::int64_t chunk;
    std::int64_t scratch_bytes;
    std::atomic<int>* misplaced;
};

// Counts the units, and writes all of its scratch to see whether another range writes there too.
void visit(const Visits& task, std::int64_t begin, std::int64_t end, void* scratch) {
    if (begin % task.chunk != 0 || begin >= end) ++*task.misplaced;
    char* const bytes = static_cast<char*>(scratch);
    const char mark = char(begin / task.chunk);
    std::memset(bytes, mark, std::size_t(task.scratch_bytes));
    for (std::int64_t unit = begin; unit < end; ++unit) ++(*task.units)[std::size_t(unit)];
    for (std::int64_t i = 0; i < task.scratch_bytes; ++i) {
        if (bytes[i] != mark) ++*task.misplaced;
    }
    if (task.scratch_bytes > 0 && reinterpret_cast<std::uintptr_t>(scratch) % 64 != 0) ++*task.misplaced;
}

void test_every_unit_once() {
    for (const int threads : {1, 2, 5}) {
        set_num_threads(threads);
        for (const std::int64_t units : {1, 2, 63, 1000}) {
            for (const std::int64_t chunk : {1, 7, 64, 5000}) {
                for (const std::int64_t scratch : {0, 1, 100, 70000}) {
                    std::vector<std::atomic<int>> visited(static_cast<std::size_t>(units));
                    std::atomic<int> misplaced{0};
                    const Visits task{&visited, chunk, scratch, &misplaced};
                    CHECK(run(&visit, task, {units, chunk, 1e9, scratch}));
                    bool once = misplaced == 0;
                    for (const std::atomic<int>& count : visited) once = once && count == 1;
                    CHECK(once);
                }
            }
        }
    }
    set_num_threads(0);
}

struct CountedPoll : Poll {
    explicit CountedPoll(int allowed) : left(allowed) {}
    bool goes_on() noexcept override {
        ++asked;
        return left-- > 0;
    }
    int left, asked = 0;
};

// Long work asks the poll of its thread between slices, each of which has work for all threads.
void test_polls() {
    for (const int threads : {1, 2, 5}) {
        set_num_threads(threads);
        for (const std::int64_t units : {1, 2, 63, 1000}) {
            for (const bool is_long : {false, true}) {
                for (const int allowed : {0, 2, 1000}) {
                    std::vector<std::atomic<int>> visited(static_cast<std::size_t>(units));
                    std::atomic<int> misplaced{0};
                    const Visits task{&visited, 1, 100, &misplaced};
                    CountedPoll poll(allowed);
                    CHECK(set_poll(&poll) == nullptr);
                    const bool done = run(&visit, task, {units, 1, is_long ? 2e9 : 1e6, 100});
                    CHECK(set_poll(nullptr) == &poll);
                    std::int64_t count = 0;
                    for (const std::atomic<int>& visits : visited) {
                        CHECK(visits <= 1);
                        count += visits;
                    }
                    CHECK(done == (count == units) && misplaced == 0);
                    CHECK(is_long || poll.asked == 0);
                    CHECK(units < 63 || !is_long || poll.asked >= std::min(allowed + 1, 7));
                    CHECK(done || poll.asked == allowed + 1);
                }
            }
        }
    }
    set_num_threads(0);
}

void test_threads() {
    set_num_threads(4);
    CHECK(threads_for({100, 1, 1, 0}) == 1);    // brief
    CHECK(threads_for({100, 1, 1e9, 0}) == 4);  // long
    CHECK(threads_for({3, 1, 1e9, 0}) == 3);    // as many as there are chunks
    CHECK(threads_for({100, 100, 1e9, 0}) == 1);
    CHECK(threads_for({0, 1, 1e9, 0}) == 1);
    set_num_threads(1);
    CHECK(threads_for({100, 1, 1e9, 0}) == 1);
    set_num_threads(0);
}

void test_no_memory() {
    std::vector<std::atomic<int>> visited(10);
    std::atomic<int> misplaced{0};
    const Visits task{&visited, 1, 0, &misplaced};
    CHECK(!run(&visit, task, {10, 1, 1e9, std::int64_t(1) << 56}));
    for (const std::atomic<int>& count : visited) CHECK(count == 0);
    CHECK(run(&visit, task, {0, 1, 0, std::int64_t(1) << 56}));  // nothing to do needs no memory
    const Numbers none(std::int64_t(1) << 56);
    CHECK(!none);
}

void test_numbers() {
    for (const std::int64_t count : {10, 1000, 1000000}) {
        Numbers numbers(3 * count);
        CHECK(bool(numbers));
        double* const first = numbers.take(count);
        double* const second = numbers.take(2 * count);
        CHECK(second == first + count && reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
        second[2 * count - 1] = 1;
    }
}

}  // namespace

int main() {
    test_every_unit_once();
    test_polls();
    test_threads();
    test_no_memory();
    test_numbers();
    return check::report();
}
