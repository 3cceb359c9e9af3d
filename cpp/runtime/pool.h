// The thread pool: splits a job of numbered chunks over the calling thread and a few sleeping workers.
//
// Results must not depend on the number of threads, so nothing here tells a body which thread it runs on:
// whatever it adds up has to be kept per chunk, and the division into chunks may depend on the shape of the
// data alone.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

namespace fastnorm {

// Threads that a call made now by this thread may use: the limit of this thread if it has one, else the
// process-wide setting, else FASTNORM_NUM_THREADS, else OMP_NUM_THREADS (the first of a list), else the
// processors that this thread may use now (its affinity) within the cgroup's quota. Jobs notice another
// affinity after 10 ms at most.
int num_threads() noexcept;

// The same without the limit of the calling thread.
int process_num_threads() noexcept;

// Sets the process-wide number; below 1 restores the default. Numbers above the processors are taken as they
// are.
void set_num_threads(int n) noexcept;

// Sets the limit of the calling thread, below 1 meaning none, and returns the one it had (0: none).
int swap_thread_limit(int n) noexcept;

// The threads worth using now for work that takes one thread about `microseconds`, at most num_threads().
// Threads that are awake take part in anything of 5 us or more; sleeping ones are woken for 100 us or more,
// or when such calls follow each other closely. The result depends on the moment: it may choose the speed,
// never the value, of a result.
int worthwhile_threads(double microseconds) noexcept;

// What is wrong with FASTNORM_NUM_THREADS, as a message for the user; empty when all is well. A wrong value
// is ignored.
std::string threads_environment_error();

// --- Parts of the above that depend on their arguments alone, so that tests can reach every branch.

// The number of threads that the two environment variables (null when unset) ask for; 0 when they do not.
int threads_from_environment(const char* fastnorm_num_threads, const char* omp_num_threads) noexcept;

using ChunkFunction = void (*)(void* context, std::size_t begin, std::size_t end) noexcept;

// parallel_for below, without the template.
void run_chunks(std::size_t chunks, int max_threads, ChunkFunction function, void* context) noexcept;

// Calls body(begin, end) for ranges of chunk numbers that together hold each of 0 .. chunks-1 exactly once,
// on at most `max_threads` and at most num_threads() threads, and returns when all are done; everything the
// bodies wrote is then visible to the caller. One thread gets a single range. Where the pool is taken (by
// another thread, or by the job that this call is part of) the caller does the work alone.
//
// Bodies must be noexcept, and must neither wait for each other nor fork.
template <class Body>
inline void parallel_for(std::size_t chunks, int max_threads, const Body& body) noexcept {
    static_assert(
        std::is_nothrow_invocable_v<const Body&, std::size_t, std::size_t>,
        "a body is called as body(begin, end) and must be noexcept: no exception can cross threads"
    );
    if (chunks <= 1 || max_threads <= 1) {
        if (chunks != 0) body(std::size_t{0}, chunks);
        return;
    }
    const ChunkFunction function = [](void* context, std::size_t begin, std::size_t end) noexcept {
        (*static_cast<const Body*>(context))(begin, end);
    };
    run_chunks(chunks, max_threads, function, const_cast<Body*>(&body));
}

}  // namespace fastnorm

#if defined(_WIN32)
#define FASTNORM_EXPORT __declspec(dllexport)
#else
#define FASTNORM_EXPORT __attribute__((visibility("default")))
#endif

// For threadpoolctl, which finds these by name in the loaded libraries: the process-wide setting.
extern "C" {
FASTNORM_EXPORT int fastnorm_get_num_threads(void);
FASTNORM_EXPORT void fastnorm_set_num_threads(int n);
}
