#include "../runtime/pool.h"

#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../runtime/cpu.h"
#include "../runtime/float_controls.h"
#include "check.h"
#include "environment.h"

#if defined(__unix__) || defined(__APPLE__)
#include <signal.h>
#include <time.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#endif

using namespace fastnorm;
using namespace std::chrono_literals;

namespace {

constexpr int all_threads = INT_MAX;

// Waits, for at most ten seconds, until the condition holds; returns whether it does.
template <class Condition>
bool eventually(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

// Runs a job and returns whether each chunk was done exactly once.
bool covers(std::size_t chunks, int max_threads) {
    const std::unique_ptr<std::atomic<unsigned>[]> times(new std::atomic<unsigned>[chunks]());
    std::atomic<bool> in_range{true};
    parallel_for(chunks, max_threads, [&](std::size_t begin, std::size_t end) noexcept {
        if (begin >= end || end > chunks) in_range = false;
        for (std::size_t i = begin; i < end && i < chunks; ++i)
            times[i].fetch_add(1, std::memory_order_relaxed);
    });
    for (std::size_t i = 0; i < chunks; ++i) {
        if (times[i] != 1) return false;
    }
    return in_range;
}

// Runs a job of `threads` chunks, each of which waits for all the others, and returns whether that many
// threads met.
bool meets(int threads) {
    std::atomic<int> arrived{0};
    std::atomic<bool> met{true};
    parallel_for(static_cast<std::size_t>(threads), threads, [&](std::size_t, std::size_t) noexcept {
        ++arrived;
        if (!eventually([&] { return arrived == threads; })) met = false;
    });
    return met && arrived == threads;
}

void test_every_chunk_once() {
    CHECK(covers(0, all_threads));
    for (int threads = 1; threads <= 8; ++threads) {
        set_num_threads(threads);
        for (const std::size_t chunks :
             {1u, 2u, 3u, 5u, 7u, 8u, 9u, 16u, 63u, 64u, 65u, 100u, 127u, 129u, 511u, 1000u, 4097u,
              100003u}) {
            for (const int max_threads : {all_threads, 1, 2, 3, 7}) CHECK(covers(chunks, max_threads));
        }
        for (int i = 0; i < 500; ++i) {
            if (!covers(static_cast<std::size_t>(i % 50), all_threads))
                CHECK(!"a chunk was lost or done twice");
        }
    }
    CHECK(covers(100, 0));
    CHECK(covers(100, -1));
    set_num_threads(0);
}

void test_a_job_larger_than_32_bits() {
    set_num_threads(4);
    constexpr std::size_t chunks = (std::size_t{1} << 33) + 12345;
    std::atomic<std::size_t> done{0}, ranges{0};
    parallel_for(chunks, all_threads, [&](std::size_t begin, std::size_t end) noexcept {
        done += end - begin;
        ++ranges;
    });
    CHECK(done == chunks);
    CHECK(ranges >= 4 && ranges <= 1000);
    set_num_threads(0);
}

void test_one_thread_gets_one_range() {
    const auto is_single = [](std::size_t chunks, int max_threads) {
        int calls = 0;
        bool whole = true;
        const std::thread::id caller = std::this_thread::get_id();
        parallel_for(chunks, max_threads, [&](std::size_t begin, std::size_t end) noexcept {
            ++calls;
            whole = whole && begin == 0 && end == chunks && std::this_thread::get_id() == caller;
        });
        return calls == 1 && whole;
    };
    set_num_threads(1);
    CHECK(is_single(1000, all_threads));
    set_num_threads(4);
    CHECK(is_single(1, all_threads));
    CHECK(is_single(1000, 1));
    set_num_threads(0);
}

void test_threads_take_part() {
    for (int threads = 2; threads <= 6; ++threads) {
        set_num_threads(threads);
        CHECK(meets(threads));
        CHECK(meets(2));
    }
    set_num_threads(0);
}

void test_no_more_threads_than_allowed() {
    const auto distinct = [](int max_threads) {
        std::mutex mutex;
        std::set<std::thread::id> seen;
        parallel_for(400, max_threads, [&](std::size_t, std::size_t) noexcept {
            const std::lock_guard<std::mutex> lock(mutex);
            seen.insert(std::this_thread::get_id());
        });
        return seen.size();
    };
    set_num_threads(6);
    CHECK(meets(6));  // now there are six, awake
    for (int i = 0; i < 100; ++i) {
        if (distinct(2) > 2) CHECK(!"more threads than max_threads");
    }
    set_num_threads(3);
    for (int i = 0; i < 100; ++i) {
        if (distinct(all_threads) > 3) CHECK(!"more threads than num_threads()");
    }
    CHECK(distinct(1) == 1);
    set_num_threads(0);
}

// A thread that is held up keeps only the chunk it is at: the others take the rest of its share.
void test_shares_are_stolen() {
    set_num_threads(3);
    for (const std::size_t held_up : {0u, 1u, 40u, 89u}) {
        std::atomic<int> others{0};
        std::atomic<bool> all_done{false};
        parallel_for(90, all_threads, [&](std::size_t begin, std::size_t) noexcept {
            if (begin == held_up) {
                all_done = eventually([&] { return others == 89; });
            } else {
                ++others;
            }
        });
        CHECK(all_done);
    }
    set_num_threads(0);
}

// Two halves that take equally long are done by one thread each, always by the same one: what a thread wrote
// in one call is in its cache in the next.
void test_shares_stay_with_their_threads() {
    set_num_threads(2);
    int kept = 0;
    for (int i = 0; i < 50; ++i) {
        std::thread::id first, last;
        std::atomic<int> arrived{0};
        parallel_for(2, 2, [&](std::size_t begin, std::size_t) noexcept {
            (begin == 0 ? first : last) = std::this_thread::get_id();
            ++arrived;
            eventually([&] { return arrived == 2; });
        });
        kept += first == std::this_thread::get_id() && last != first;
    }
    CHECK(kept == 50);
    set_num_threads(0);
}

// With plain variables, so that ThreadSanitizer judges as well.
void test_writes_are_visible_to_the_caller() {
    set_num_threads(4);
    std::vector<std::size_t> values(1000, 0);
    bool visible = true;
    for (std::size_t round = 1; round <= 200; ++round) {
        parallel_for(values.size(), all_threads, [&](std::size_t begin, std::size_t end) noexcept {
            for (std::size_t i = begin; i < end; ++i) values[i] += round * i;
        });
        for (std::size_t i = 0; i < values.size(); ++i)
            visible = visible && values[i] == i * round * (round + 1) / 2;
    }
    CHECK(visible);
    set_num_threads(0);
}

void test_many_callers() {
    set_num_threads(3);
    std::vector<std::thread> callers;
    for (int t = 0; t < 6; ++t) {
        callers.emplace_back([t] {
            bool whole = true;
            for (int i = 0; i < 300; ++i) {
                whole = covers(static_cast<std::size_t>(1 + (i * 13 + t) % 200), all_threads) && whole;
            }
            CHECK(whole);
        });
    }
    for (std::thread& caller : callers) caller.join();
    set_num_threads(0);
}

void test_nested_calls() {
    set_num_threads(4);
    std::atomic<int> inner{0}, innermost{0};
    for (int i = 0; i < 20; ++i) {
        parallel_for(16, all_threads, [&](std::size_t begin, std::size_t end) noexcept {
            for (std::size_t chunk = begin; chunk < end; ++chunk) {
                parallel_for(10, all_threads, [&](std::size_t inner_begin, std::size_t inner_end) noexcept {
                    inner += static_cast<int>(inner_end - inner_begin);
                    parallel_for(3, all_threads, [&](std::size_t first, std::size_t last) noexcept {
                        innermost += static_cast<int>(last - first);
                    });
                });
            }
        });
    }
    CHECK(inner == 20 * 16 * 10);
    CHECK(innermost >= 20 * 16 * 3 && innermost % 3 == 0);
    set_num_threads(0);
}

void test_setting_changes_under_load() {
    std::atomic<bool> stop{false};
    std::thread changer([&] {
        for (int i = 0; !stop; ++i) {
            set_num_threads(1 + i % 8);
            std::this_thread::yield();
        }
    });
    bool whole = true;
    for (int i = 0; i < 2000; ++i)
        whole = covers(static_cast<std::size_t>(1 + i % 300), all_threads) && whole;
    stop = true;
    changer.join();
    CHECK(whole);
    set_num_threads(0);
}

void test_settings() {
    CHECK(num_threads() >= 1);
    const int usual = num_threads();
    set_num_threads(5);
    CHECK(num_threads() == 5);
    CHECK(swap_thread_limit(2) == 0);
    CHECK(num_threads() == 2);
    CHECK(process_num_threads() == 5);
    int elsewhere = 0;
    std::thread([&] { elsewhere = num_threads(); }).join();
    CHECK(elsewhere == 5);
    CHECK(swap_thread_limit(9) == 2);
    CHECK(num_threads() == 9);
    CHECK(fastnorm_get_num_threads() == 5);
    fastnorm_set_num_threads(3);
    CHECK(process_num_threads() == 3);
    CHECK(num_threads() == 9);
    CHECK(swap_thread_limit(-4) == 9);
    CHECK(num_threads() == 3);
    CHECK(swap_thread_limit(0) == 0);
    set_num_threads(-1);
    CHECK(num_threads() == usual);
    // A limit of one is kept by calls, too.
    set_num_threads(4);
    swap_thread_limit(1);
    int calls = 0;
    parallel_for(100, all_threads, [&](std::size_t, std::size_t) noexcept { ++calls; });
    CHECK(calls == 1);
    swap_thread_limit(0);
    set_num_threads(0);
}

void test_environment_texts() {
    CHECK(threads_from_environment(nullptr, nullptr) == 0);
    CHECK(threads_from_environment("3", nullptr) == 3);
    CHECK(threads_from_environment("3", "7") == 3);
    CHECK(threads_from_environment(" 3 ", nullptr) == 3);
    CHECK(threads_from_environment(nullptr, "7") == 7);
    CHECK(threads_from_environment(nullptr, "7,2,1") == 7);
    CHECK(threads_from_environment(nullptr, " 7 , 2") == 7);
    for (const char* garbage :
         {"", " ", "0", "-2", "+2", "two", "2x", "2.5", "0x4", "99999999999", "99999999999999999999999"}) {
        CHECK(threads_from_environment(garbage, nullptr) == 0);
        CHECK(threads_from_environment(garbage, "4") == 4);
        CHECK(threads_from_environment(nullptr, garbage) == 0);
    }
    CHECK(threads_from_environment("4,2", nullptr) == 0);  // a list is OpenMP's notion
    CHECK(threads_from_environment(nullptr, ",2") == 0);

    set_variable("FASTNORM_NUM_THREADS", "2,2");
    CHECK(
        threads_environment_error() == "FASTNORM_NUM_THREADS is '2,2', needs an integer from 1 to 2147483647"
    );
    set_variable("FASTNORM_NUM_THREADS", "0");
    CHECK(!threads_environment_error().empty());
    set_variable("FASTNORM_NUM_THREADS", "2");
    CHECK(threads_environment_error().empty());
    set_variable("FASTNORM_NUM_THREADS", "");
    CHECK(threads_environment_error().empty());
    unset_variable("FASTNORM_NUM_THREADS");
    CHECK(threads_environment_error().empty());
}

void test_worthwhile_threads() {
    set_num_threads(2);
    CHECK(worthwhile_threads(0.0) == 1);
    CHECK(worthwhile_threads(1.0) == 1);
    CHECK(worthwhile_threads(1e9) == 2);
    const auto let_them_sleep = [] { std::this_thread::sleep_for(3ms); };
    // Asleep: alone at first, then one of several calls in a row. The clock takes part, so in one of a few
    // attempts.
    bool woken_for_the_second = false;
    for (int i = 0; i < 200 && !woken_for_the_second; ++i) {
        let_them_sleep();
        woken_for_the_second = worthwhile_threads(20.0) == 1 && worthwhile_threads(20.0) == 2;
    }
    CHECK(woken_for_the_second);
    set_num_threads(8);
    CHECK(worthwhile_threads(1e9) == 8);
    // Awake, as they are during a job: at once, but never more than the thread's limit.
    std::atomic<int> arrived{0};
    std::atomic<bool> kept{true};
    parallel_for(8, all_threads, [&](std::size_t, std::size_t) noexcept {
        ++arrived;
        eventually([&] { return arrived >= 8; });
        let_them_sleep();  // past the last of the calls in a row
        swap_thread_limit(2);
        if (worthwhile_threads(20.0) != 2) kept = false;
        swap_thread_limit(0);
        ++arrived;
        eventually([&] { return arrived == 16; });
    });
    CHECK(kept);
    set_num_threads(1);
    CHECK(worthwhile_threads(1e9) == 1);
    set_num_threads(0);
}

#if defined(__unix__) || defined(__APPLE__)
double processor_seconds() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void test_idle_workers_sleep() {
    for (const int threads : {2, 6}) {
        set_num_threads(threads);
        CHECK(meets(threads));
        const double before = processor_seconds();
        std::this_thread::sleep_for(400ms);
        CHECK(processor_seconds() - before < 0.1);
    }
    set_num_threads(0);
}

void test_workers_leave_signals_to_the_application() {
    set_num_threads(2);
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
    sigset_t mask;
    sigemptyset(&mask);
    parallel_for(2, 2, [&](std::size_t, std::size_t) noexcept {
        if (std::this_thread::get_id() != caller) pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        ++arrived;
        eventually([&] { return arrived == 2; });
    });
    for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGPROF})
        CHECK(sigismember(&mask, signal) == 1);
    for (const int signal : {SIGSEGV, SIGFPE, SIGBUS, SIGILL, SIGABRT})
        CHECK(sigismember(&mask, signal) == 0);
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    CHECK(sigismember(&mask, SIGINT) == 0);
    set_num_threads(0);
}
#endif

#if FASTNORM_FLOAT_CONTROLS
// Set in the thread that creates the workers, or that calls them: to zero for subnormal numbers, rounding up.
void test_the_callers_float_controls_reach_no_worker() {
#if defined(__aarch64__)
    constexpr unsigned flush = 1u << 24, up = 1u << 22;
#else
    constexpr unsigned flush = 0x8040, up = 0x4000;
#endif
    constexpr auto usual = FloatControls::by_default;
    const auto controls = [] { return FloatControls::read() & ~FloatControls::flags; };
    CHECK(controls() == usual);
    FloatControls::write(usual | flush | up);
    {
        const DefaultFloatControls guard;
        CHECK(controls() == usual);
    }
    CHECK(controls() == (usual | flush | up));
    constexpr int threads = 9;  // more than any test before has created
    set_num_threads(threads);
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0}, changed{0};
    parallel_for(threads, threads, [&](std::size_t, std::size_t) noexcept {
        if (std::this_thread::get_id() != caller && controls() != usual) ++changed;
        ++arrived;
        eventually([&] { return arrived == threads; });
    });
    CHECK(arrived == threads && changed == 0);
    FloatControls::write(usual);
    {
        const DefaultFloatControls guard;
        CHECK(controls() == usual);
    }
    CHECK(controls() == usual);
    set_num_threads(0);
}
#endif

#if FASTNORM_TEST_FORK
// Whether the child of a process with two threads can start one: with some emulators it ends there.
bool children_have_threads() {
    std::atomic<bool> over{false};
    std::thread other([&] { eventually([&] { return over.load(); }); });
    const bool found = check::passes_in_child([] { std::thread([] {}).join(); });
    over = true;
    other.join();
    if (!found) std::printf("forked children have no threads here: their tests are left out\n");
    return found;
}

void check_pool_in_child(int threads) {
    set_num_threads(threads);
    CHECK(meets(threads));
    CHECK(covers(1000, all_threads));
    CHECK(covers(3, all_threads));
}

void test_fork_before_any_use() {
    CHECK(check::passes_in_child([] { check_pool_in_child(3); }));
}

void test_fork_after_use() {
    set_num_threads(3);
    CHECK(meets(3));
    CHECK(check::passes_in_child([] {
        CHECK(process_num_threads() == 3);  // the setting is inherited
        check_pool_in_child(3);
        check_pool_in_child(5);
    }));
    CHECK(meets(3));
    set_num_threads(0);
}

void test_fork_on_two_levels() {
    set_num_threads(2);
    CHECK(meets(2));
    CHECK(check::passes_in_child([] {
        check_pool_in_child(3);
        CHECK(check::passes_in_child([] { check_pool_in_child(4); }));
        check_pool_in_child(3);
    }));
    CHECK(meets(2));
    set_num_threads(0);
}

// Another thread is somewhere in a job: the child must neither wait for it nor carry on with it. That thread
// allocates nothing, because a child of AddressSanitizer inherits its allocator's locks as they are.
void test_fork_during_jobs() {
    set_num_threads(3);
    std::atomic<bool> stop{false};
    std::atomic<bool> whole{true};
    const pid_t parent = getpid();
    std::atomic<bool> ran_in_child{false};
    std::thread caller([&] {
        while (!stop) {
            std::atomic<int> done{0};
            parallel_for(50, all_threads, [&](std::size_t begin, std::size_t end) noexcept {
                if (getpid() != parent) ran_in_child = true;
                for (int i = 0; i < 1000; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
                done += static_cast<int>(end - begin);
            });
            if (done != 50) whole = false;
        }
    });
    for (int i = 0; i < 100; ++i) {
        CHECK(check::passes_in_child([&] {
            check_pool_in_child(2 + i % 3);
            CHECK(!ran_in_child);
        }));
    }
    stop = true;
    caller.join();
    CHECK(whole);
    set_num_threads(0);
}

// A job that is certainly running, with all its workers inside, while the process forks.
void test_fork_with_all_workers_busy() {
    set_num_threads(3);
    std::atomic<int> inside{0};
    std::atomic<bool> leave{false};
    std::thread caller([&] {
        parallel_for(3, all_threads, [&](std::size_t, std::size_t) noexcept {
            ++inside;
            eventually([&] { return leave.load(); });
        });
    });
    CHECK(eventually([&] { return inside == 3; }));
    CHECK(check::passes_in_child([] { check_pool_in_child(3); }));
    leave = true;
    caller.join();
    CHECK(meets(3));
    set_num_threads(0);
}

void test_default_of_a_child() {
    set_num_threads(0);
    const int usual = num_threads();
    CHECK(check::passes_in_child([] {
        set_variable("FASTNORM_NUM_THREADS", "3");
        set_variable("OMP_NUM_THREADS", "5");
        CHECK(num_threads() == 3);
    }));
    CHECK(check::passes_in_child([] {
        set_variable("OMP_NUM_THREADS", "5,4");
        CHECK(num_threads() == 5);
    }));
#if defined(__linux__)
    CHECK(check::passes_in_child([] {
        cpu_set_t one;
        sched_getaffinity(0, sizeof one, &one);
        for (int cpu = 0; CPU_COUNT(&one) > 1; ++cpu) CPU_CLR(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        CHECK(num_threads() == 1);
        check_pool_in_child(4);  // more threads than processors: none may spin, all must get on
    }));
#endif
    CHECK(num_threads() == usual);
}

#if defined(__linux__) && !defined(FASTNORM_ASAN)
// Whether a limit of address space keeps so much from being mapped: emulators of another processor take the
// limit and do not keep it.
bool cannot_map(std::size_t bytes) {
    void* const memory = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return true;
    munmap(memory, bytes);
    return false;
}

// Where there is no memory at all, not even for the first pool: the caller works alone.
void test_no_memory() {
    CHECK(check::passes_in_child([] {
        rlimit tight;
        getrlimit(RLIMIT_AS, &tight);
        tight.rlim_cur = 1;
        CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
        if (!cannot_map(1u << 20)) return;
        void* volatile last = nullptr;
        for (std::size_t bytes = std::size_t{1} << 24; bytes > 0; bytes /= 2) {
            do last = std::malloc(bytes);
            while (last != nullptr);
        }
        CHECK(num_threads() >= 1);
        CHECK(available_cpus() >= 1);
        CHECK(cache_sizes().l2 > 0);
        CHECK(available_memory() > 0);
        set_num_threads(4);
        std::size_t done = 0;
        parallel_for(1000, all_threads, [&](std::size_t begin, std::size_t end) noexcept {
            done += end - begin;
        });
        CHECK(done == 1000);
    }));
}

// Where the user may have no more threads.
void test_limited_threads() {
    CHECK(check::passes_in_child([] {
        if (geteuid() == 0) CHECK(setuid(65534) == 0);  // whom no limit binds
        const rlimit none{0, 0};
        CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
        set_num_threads(4);
        std::atomic<std::size_t> done{0};
        std::atomic<int> ranges{0};
        for (int i = 0; i < 3; ++i) {
            parallel_for(1000, all_threads, [&](std::size_t begin, std::size_t end) noexcept {
                done += end - begin;
                ++ranges;
            });
        }
        CHECK(done == 3000 && ranges == 3);
    }));
}

// Where the system refuses more threads, the job is done by those that there are.
void test_refused_threads() {
    CHECK(check::passes_in_child([] {
        const auto count_threads = [] {
            const std::filesystem::directory_iterator tasks("/proc/self/task");
            return std::distance(begin(tasks), end(tasks));
        };
        set_num_threads(2);
        CHECK(meets(2));
        std::size_t pages = 0;
        std::FILE* const file = std::fopen("/proc/self/statm", "r");
        CHECK(std::fscanf(file, "%zu", &pages) == 1);
        std::fclose(file);
        // Address space for a few small things, but for no new stack (glibc keeps some of threads that are
        // gone).
        rlimit before, tight;
        getrlimit(RLIMIT_AS, &before);
        tight = before;
        tight.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (1u << 20);
        CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
        if (!cannot_map(2u << 20)) return;
        set_num_threads(40);
        CHECK(covers(1000, all_threads));
        CHECK(covers(1000, all_threads));
        CHECK(count_threads() < 40);
        CHECK(setrlimit(RLIMIT_AS, &before) == 0);
        CHECK(covers(1000, all_threads));
        CHECK(count_threads() < 40);  // not asked again at every call
        set_num_threads(40);
        CHECK(covers(1000, all_threads));
        CHECK(count_threads() == 40);
    }));
}
#endif
#endif

#if defined(__linux__)
cpu_set_t only(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return set;
}

// Calls `body` on a worker that was asleep, from a caller that is pinned to `cpu`.
template <class Body>
void on_woken_worker(int cpu, const Body& body) {
    const cpu_set_t mine = only(cpu);
    CHECK(sched_setaffinity(0, sizeof mine, &mine) == 0);
    std::this_thread::sleep_for(50ms);
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
    parallel_for(2, 2, [&](std::size_t, std::size_t) noexcept {
        if (std::this_thread::get_id() != caller) body();
        ++arrived;
        eventually([&] { return arrived == 2; });
    });
}

void test_workers_keep_off_the_callers_processor() {
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &all)) cpus.push_back(cpu);
    }
    if (cpus.size() < 2) return;
    set_num_threads(2);
    CHECK(meets(2));
    cpu_set_t found;
    const auto look = [&]() noexcept { sched_getaffinity(0, sizeof found, &found); };
    for (const int cpu : {cpus[0], cpus[1], cpus[0]}) {
        on_woken_worker(cpu, look);
        cpu_set_t expected = all;
        CPU_CLR(cpu, &expected);
        CHECK(CPU_EQUAL(&found, &expected));
    }
    // An affinity that someone else gives to the worker stays, even where it leaves no choice.
    const cpu_set_t first = only(cpus[0]);
    on_woken_worker(cpus[0], [&]() noexcept { sched_setaffinity(0, sizeof first, &first); });
    for (const int cpu : {cpus[1], cpus[0]}) {
        on_woken_worker(cpu, look);
        CHECK(CPU_EQUAL(&found, &first));
    }
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    set_num_threads(0);
}

// The processors of a worker in a job of `threads` threads.
cpu_set_t affinity_of_a_worker(int threads) {
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
    std::mutex mutex;
    cpu_set_t found;
    CPU_ZERO(&found);
    parallel_for(static_cast<std::size_t>(threads), threads, [&](std::size_t, std::size_t) noexcept {
        if (std::this_thread::get_id() != caller) {
            const std::lock_guard<std::mutex> lock(mutex);
            sched_getaffinity(0, sizeof found, &found);
        }
        ++arrived;
        eventually([&] { return arrived == threads; });
    });
    CHECK(arrived == threads);
    return found;
}

// Where nobody has set a number, another affinity counts at once for num_threads(), and for jobs
// after a tick of the timer; workers that were there before go where the caller may be.
void test_affinity_is_followed() {
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    const int usual = num_threads(), cpus = CPU_COUNT(&all);
    if (cpus < 2 || usual < 2) return;
    const auto move_to = [](const cpu_set_t& set) {
        CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
        std::this_thread::sleep_for(20ms);
    };
    CHECK(worthwhile_threads(1e9) == usual);
    cpu_set_t one = all, some = all;
    for (int cpu = 0; CPU_COUNT(&one) > 1; ++cpu) CPU_CLR(cpu, &one);
    for (int cpu = 0; CPU_COUNT(&some) == cpus; ++cpu) CPU_CLR(cpu, &some);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(num_threads() == 1);
    CHECK(worthwhile_threads(1e9) == 1);
    move_to(all);
    CHECK(worthwhile_threads(1e9) == usual);
    move_to(one);
    CHECK(worthwhile_threads(1e9) == 1);
    int ranges = 0;
    parallel_for(100, all_threads, [&](std::size_t, std::size_t) noexcept { ++ranges; });
    CHECK(ranges == 1);
    move_to(all);
    CHECK(meets(2));
    if (cpus > 2) {
        move_to(some);
        const cpu_set_t found = affinity_of_a_worker(2);
        cpu_set_t both;
        CPU_OR(&both, &found, &some);
        CHECK(CPU_EQUAL(&both, &some));
        move_to(all);
    }
    set_num_threads(0);
}

#if FASTNORM_TEST_FORK
// A worker that began on one processor, as that was all that its creator had then.
void test_a_bound_worker_is_set_free() {
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    if (CPU_COUNT(&all) < 2) return;
    cpu_set_t one = all;
    for (int cpu = 0; CPU_COUNT(&one) > 1; ++cpu) CPU_CLR(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    set_num_threads(2);
    cpu_set_t found = affinity_of_a_worker(2);
    CHECK(CPU_EQUAL(&found, &one));
    // What callers may run on is asked for now and then, and a worker is kept off its caller's processor: of
    // two processors it is then left `one` alone unless that is where the caller is. The caller starts there
    // in each round, but may be moved before the job.
    for (int i = 0; i < 100; ++i) {
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
        const auto end = std::chrono::steady_clock::now() + 20ms;
        while (std::chrono::steady_clock::now() < end) {
        }
        found = affinity_of_a_worker(2);
        if (!CPU_EQUAL(&found, &one)) break;
    }
    CHECK(CPU_COUNT(&found) >= CPU_COUNT(&all) - 1);
    CPU_OR(&found, &found, &one);
    CHECK(CPU_COUNT(&found) > 1);
}
#endif
#endif

// What this program does when called with an argument: it ends while another thread is in the middle of jobs.
int exit_during_jobs(int milliseconds) {
#if defined(__unix__) || defined(__APPLE__)
    alarm(60);
#endif
    set_num_threads(3);
    std::thread([] {
        for (;;) covers(100, all_threads);
    }).detach();
    CHECK(covers(1000, all_threads));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return check::failed;
}

void test_exit_during_jobs(const std::string& program) {
    for (int i = 0; i < 20; ++i) {
        const int status = std::system(("\"" + program + "\" " + std::to_string(i % 5)).c_str());
#if defined(__unix__) || defined(__APPLE__)
        constexpr int cannot_execute = 126;  // what the shell says where this process is emulated
        if (WIFEXITED(status) && WEXITSTATUS(status) == cannot_execute) return;
#endif
        CHECK(status == 0);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) return exit_during_jobs(std::atoi(argv[1]));
#if FASTNORM_TEST_FORK
    test_fork_before_any_use();
#if defined(__linux__)
    CHECK(check::passes_in_child(test_a_bound_worker_is_set_free));
#if !defined(FASTNORM_ASAN)
    test_no_memory();
    test_limited_threads();
#endif
#endif
    test_default_of_a_child();
#else
    std::printf("the tests with fork are left out of this build\n");
#endif
    test_settings();
    test_environment_texts();
    test_every_chunk_once();
    test_a_job_larger_than_32_bits();
    test_one_thread_gets_one_range();
    test_threads_take_part();
    test_no_more_threads_than_allowed();
    test_shares_are_stolen();
    test_shares_stay_with_their_threads();
    test_writes_are_visible_to_the_caller();
    test_many_callers();
    test_nested_calls();
    test_setting_changes_under_load();
    test_worthwhile_threads();
    test_exit_during_jobs(argv[0]);
#if FASTNORM_FLOAT_CONTROLS
    test_the_callers_float_controls_reach_no_worker();
#endif
#if defined(__unix__) || defined(__APPLE__)
    test_idle_workers_sleep();
    test_workers_leave_signals_to_the_application();
#endif
#if FASTNORM_TEST_FORK
    if (children_have_threads()) {
        test_fork_after_use();
        test_fork_on_two_levels();
        test_fork_during_jobs();
        test_fork_with_all_workers_busy();
        test_default_of_a_child();
#if defined(__linux__) && !defined(FASTNORM_ASAN)
        test_refused_threads();
#endif
    }
#endif
#if defined(__linux__)
    test_workers_keep_off_the_callers_processor();
    test_affinity_is_followed();
#endif
    return check::report();
}
