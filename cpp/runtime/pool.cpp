#include "pool.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <thread>

#include "cpu.h"
#include "float_controls.h"
#include "placement.h"

// The kernel's headers are not there everywhere with musl.
#if defined(__linux__) && !defined(FASTNORM_NO_FUTEX) && __has_include(<linux/futex.h>)
#define FASTNORM_FUTEX 1
#include <linux/futex.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <condition_variable>
#include <mutex>
#endif

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#define FASTNORM_POSIX 1
#include <pthread.h>
#include <signal.h>
#endif

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#include <immintrin.h>
#endif

// How it works
//
// There is one job at a time, and one atomic word, Pool::state_, that tells everything about it: its
// generation, how many threads may take part, how many workers are in it now, and whether it is open. A
// worker joins by adding itself to an open job and leaves by subtracting itself; the caller works too, closes
// the job once nothing is left to take, and waits until no worker is in it. A worker that wakes too late
// finds the job closed, so nobody ever waits for a thread that has not started: not for one that the system
// was slow to wake, nor for one that it refused to create.
//
// Every thread has a seat with its own contiguous share of the chunks. It takes chunks from the front of its
// share and, when that is empty, the back half of another's. Shares depend on the number of threads alone, so
// a thread meets the same part of the arrays in call after call, while it is still in its own cache. Against
// a single counter for all, two threads on two cores of an Ice Lake Xeon took 14 instead of 19 us for a
// scaled copy of 768 KiB, 7 instead of 8 to 12 us for 384 KiB, and the same beyond the caches.
//
// After fork the child has no workers. It forgets the pool altogether (a few KiB leak) and makes a new one
// when it needs one, so it does not matter in what state the fork caught the old one. For the same reason
// nothing here is a function-local static with a guard, and nothing has a destructor that could run while
// workers sleep at process exit.

namespace fastnorm {
namespace {

constexpr unsigned most_threads = 1024;

// A share of many chunks is cut into 64 to 127 pieces: tiny chunks are taken in bunches, and what is left to
// balance at the end is 1/64 of a share.
constexpr std::size_t pieces_per_share = 64;

using clock = std::chrono::steady_clock;

// How long a worker looks for the next job before it sleeps: about what it costs to wake it (10 to 25 us of
// the waker's time and 25 to 60 us until it runs, on a virtual machine with two processors), so that a wrong
// guess at most doubles that cost.
constexpr std::chrono::microseconds spin_time{50};

// A share of a job that is worth handing to a thread that is awake. The hand-over itself takes 0.2 to 0.9 us,
// and data in the caller's cache has to cross over: a pass over 48 KiB that the caller had just written
// took 1.8 us on one thread and 2.3 us on two, one over 96 KiB 5.2 and 4.1 us.
constexpr double awake_share_us = 2.5;

// A job that is worth waking sleeping threads for: 200 us of work became 140 us, 100 us about 95.
constexpr double asleep_job_us = 100.0;

#if defined(__APPLE__) && defined(__aarch64__)
constexpr std::size_t cache_line = 128;
#else
constexpr std::size_t cache_line = 64;
#endif

inline void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
    _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
    __asm__ volatile("yield");
#endif
}

// Looks at `condition` once, or until the spin time is over; returns whether it held.
template <class Condition>
bool look_for(const Condition& condition, bool spin) noexcept {
    if (condition()) return true;
    if (!spin) return false;
    const clock::time_point deadline = clock::now() + spin_time;
    do {
        for (int i = 0; i < 16; ++i) {
            if (condition()) return true;
            pause_cpu();
        }
    } while (clock::now() < deadline);
    return condition();
}

// Where one thread sleeps. The sleeper calls prepare(), looks once more at what it waits for, then calls
// sleep() or cancel(); the waker changes what is waited for, then calls wake(). With sequential consistency
// on the flag and on what is waited for, either the sleeper sees the change or the waker sees the flag.
// sleep() may return without cause. The two stores are exchanges, which x86 compiles a store of this order to
// anyway. For 64-bit Arm it would do to store: a load-acquire comes after every store-release before it. But
// emulators that run its code on x86 (QEMU 7.2) let such a load overtake the store, and both sides sleep.
class Sleeper {
public:
    void prepare() noexcept { asleep_.exchange(1, std::memory_order_seq_cst); }
    void cancel() noexcept { asleep_.store(0, std::memory_order_relaxed); }
    void sleep() noexcept {
#if FASTNORM_FUTEX
        syscall(SYS_futex, &asleep_, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0);
        cancel();
#elif defined(_WIN32)
        std::uint32_t still = 1;
        WaitOnAddress(&asleep_, &still, sizeof asleep_, INFINITE);
        cancel();
#else
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return asleep_.load(std::memory_order_relaxed) == 0; });
#endif
    }
    bool asleep() const noexcept { return asleep_.load(std::memory_order_seq_cst) != 0; }
    void wake() noexcept {
#if FASTNORM_FUTEX
        if (asleep_.exchange(0, std::memory_order_relaxed) == 0) return;
        syscall(SYS_futex, &asleep_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#elif defined(_WIN32)
        if (asleep_.exchange(0, std::memory_order_relaxed) == 0) return;
        WakeByAddressSingle(&asleep_);
#else
        std::lock_guard<std::mutex> lock(mutex_);
        asleep_.store(0, std::memory_order_relaxed);
        changed_.notify_one();
#endif
    }

private:
    std::atomic<std::uint32_t> asleep_{0};
#if FASTNORM_FUTEX
    static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "a futex is a plain 32-bit word");
#elif !defined(_WIN32)
    std::mutex mutex_;
    std::condition_variable changed_;
#endif
};

// The pieces [begin, end) that a seat still has to do, in one word so that owner and thieves agree on them.
class Share {
public:
    void set(std::uint32_t begin, std::uint32_t end) noexcept {
        word_.store(pack(begin, end), std::memory_order_relaxed);
    }

    // For the owner: the first piece.
    bool take_front(std::uint32_t& piece) noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        while (begin_of(word) < end_of(word)) {
            piece = begin_of(word);
            const std::uint64_t rest = pack(piece + 1, end_of(word));
            if (word_.compare_exchange_weak(word, rest, std::memory_order_relaxed)) return true;
        }
        return false;
    }

    // For a thief: the back half, rounded up.
    bool take_back(std::uint32_t& begin, std::uint32_t& end) noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        while (begin_of(word) < end_of(word)) {
            end = end_of(word);
            begin = end - (end - begin_of(word) + 1) / 2;
            const std::uint64_t rest = pack(begin_of(word), begin);
            if (word_.compare_exchange_weak(word, rest, std::memory_order_relaxed)) return true;
        }
        return false;
    }

private:
    static std::uint64_t pack(std::uint32_t begin, std::uint32_t end) noexcept {
        return (static_cast<std::uint64_t>(end) << 32) | begin;
    }
    static std::uint32_t begin_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }
    static std::uint32_t end_of(std::uint64_t word) noexcept {
        return static_cast<std::uint32_t>(word >> 32);
    }

    // Relaxed throughout: the chunks are independent of each other, and Pool::state_ orders them against the
    // caller. A word that comes back to an earlier value does no harm, because the value is all there is to
    // know.
    std::atomic<std::uint64_t> word_{0};
};

struct alignas(cache_line) Seat {
    Share share;
    Sleeper sleeper;
    Placement placement;  // touched by the one that wakes this seat
};

// Pool::state_: generation (32 bits), threads that may take part (15), workers in the job (16), open (1).
using State = std::uint64_t;
constexpr State open_bit = 1;
constexpr State one_worker = 2;
constexpr std::uint32_t workers_in(State state) { return static_cast<std::uint32_t>(state >> 1) & 0xFFFFu; }
constexpr std::uint32_t threads_of(State state) { return static_cast<std::uint32_t>(state >> 17) & 0x7FFFu; }
constexpr std::uint32_t generation_of(State state) { return static_cast<std::uint32_t>(state >> 32); }
constexpr State open_state(std::uint32_t generation, std::uint32_t threads) {
    return (static_cast<State>(generation) << 32) | (static_cast<State>(threads) << 17) | open_bit;
}
static_assert(most_threads < 0x7FFF, "the number of threads has 15 bits");

#if FASTNORM_POSIX
// Of a worker. Kernels keep blocks on the stack, at most 67 KiB at a time (products of one row of doubles, by
// the frames of avx512); musl gives a thread 128 KiB where nobody asks for more.
constexpr std::size_t stack_bytes = std::size_t(1) << 20;
#endif

// Runs the function in a thread of its own, detached, because there is no good moment to join: at process
// exit other threads may still be in a job. Returns whether there is one.
template <class Function>
bool launch(const Function& function) noexcept {
#if FASTNORM_POSIX
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);  // where it is refused, the system's default
    Function* const given = new (std::nothrow) Function(function);
    const auto start = [](void* argument) -> void* {
#if defined(__linux__)
        pthread_setname_np(pthread_self(), "fastnorm");
#endif
        const std::unique_ptr<Function> own(static_cast<Function*>(argument));
        (*own)();
        return nullptr;
    };
    pthread_t thread;
    const bool started = given != nullptr && pthread_create(&thread, &attributes, start, given) == 0;
    if (!started) delete given;
    pthread_attr_destroy(&attributes);
    return started;
#else
    try {
        std::thread(function).detach();
        return true;
    } catch (const std::exception&) {
        return false;
    }
#endif
}

struct Job {
    ChunkFunction function = nullptr;
    void* context = nullptr;
    std::size_t chunks = 0;
    std::size_t chunks_per_piece = 0;
    std::uint32_t threads = 0;
};

// Set where the system refused to create a thread; asked again after the next set_num_threads.
std::atomic<bool> creation_refused{false};

// The calling thread's own.
thread_local RecentAffinity recent_affinity;

// The processors that the cgroup leaves, as it was when they were first asked for; below 0: not known yet.
std::atomic<double> known_quota{-1.0};
double quota() noexcept {
    double limit = known_quota.load(std::memory_order_relaxed);
    if (limit < 0) {
        limit = cpu_quota();
        known_quota.store(limit, std::memory_order_relaxed);
    }
    return limit;
}

class Pool {
public:
    // Whether the caller now owns the pool; if so it must call release().
    bool claim() noexcept {
        return !claimed_.load(std::memory_order_relaxed) &&
               !claimed_.exchange(true, std::memory_order_acquire);
    }
    void release() noexcept { claimed_.store(false, std::memory_order_release); }

    // Workers that would take part in a job without having to be woken first.
    unsigned awake() const noexcept { return awake_.load(std::memory_order_relaxed); }

    // For the owner: creates workers until `wanted` threads can take part, and returns how many can.
    unsigned provide(unsigned wanted) noexcept {
        while (seat_count_ < wanted && !creation_refused.load(std::memory_order_relaxed)) {
            if (!add_seat()) creation_refused.store(true, std::memory_order_relaxed);
        }
        return std::min(wanted, seat_count_);
    }

    // For the owner: the workers follow it to the processors that it has been given since the last job. Fewer
    // of them than threads are those of one thread that was bound (as OpenMP does to the thread that starts
    // it), where somebody has set the number of threads: the workers are not to crowd there.
    void follow_caller(unsigned threads) noexcept {
        const Affinity& callers = recent_affinity.get();
        if (callers.count < threads || (all_follow_ && callers == followed_)) return;
        all_follow_ = true;
        for (unsigned seat = 1; seat < seat_count_; ++seat) {
            if (!seats_[seat]->placement.give(callers)) all_follow_ = false;
        }
        followed_ = callers;
        cpus_.store(cpus_within(callers.count, quota()), std::memory_order_relaxed);
    }

    // For the owner: runs a job on `threads` >= 2 threads, as many as provide() promised.
    void run(std::size_t chunks, unsigned threads, ChunkFunction function, void* context) noexcept {
        job_.function = function;
        job_.context = context;
        job_.chunks = chunks;
        job_.chunks_per_piece = std::max<std::size_t>(1, chunks / (pieces_per_share * threads));
        job_.threads = threads;
        const std::size_t pieces = (chunks - 1) / job_.chunks_per_piece + 1;
        for (unsigned i = 0; i < threads; ++i) {
            seats_[i]->share.set(first_piece(pieces, threads, i), first_piece(pieces, threads, i + 1));
        }

        state_.exchange(open_state(++generation_, threads), std::memory_order_seq_cst);  // as in Sleeper
        wake_children(0);
        work(0);
        if (workers_in(state_.fetch_and(~open_bit, std::memory_order_seq_cst)) != 0) wait_for_workers();
    }

private:
    // Shares differ by one piece at most, and the caller, which is there from the start, has the larger one.
    static std::uint32_t first_piece(std::size_t pieces, unsigned threads, unsigned seat) noexcept {
        return static_cast<std::uint32_t>((pieces * seat + threads - 1) / threads);
    }

    // Waking a thread costs a system call of a few microseconds, so the workers share that work as a binary
    // tree.
    void wake_children(unsigned seat) noexcept {
        for (unsigned child = 2 * seat + 1; child <= 2 * seat + 2 && child < job_.threads; ++child) {
            if (!seats_[child]->sleeper.asleep()) continue;
            seats_[child]->placement.keep_off(Placement::current_cpu());
            seats_[child]->sleeper.wake();
        }
    }

    void work(unsigned seat) noexcept {
        std::uint32_t piece;
        while (seats_[seat]->share.take_front(piece) || steal(seat, piece)) {
            const std::size_t begin = piece * job_.chunks_per_piece;
            job_.function(job_.context, begin, std::min(begin + job_.chunks_per_piece, job_.chunks));
        }
    }

    // Keeps the first of the stolen pieces and puts the others into the thief's own share, which is empty.
    bool steal(unsigned seat, std::uint32_t& piece) noexcept {
        std::uint32_t end;
        for (unsigned step = 1; step < job_.threads; ++step) {
            const unsigned victim = (seat + step) % job_.threads;
            if (!seats_[victim]->share.take_back(piece, end)) continue;
            if (piece + 1 < end) seats_[seat]->share.set(piece + 1, end);
            return true;
        }
        return false;
    }

    void wait_for_workers() noexcept {
        const auto done = [this]() noexcept {
            return workers_in(state_.load(std::memory_order_seq_cst)) == 0;
        };
        if (look_for(done, may_spin(job_.threads))) return;
        for (;;) {
            caller_.prepare();
            if (done()) break;
            caller_.sleep();
        }
        caller_.cancel();
    }

    // Spinning while there are more threads than processors takes the processor from a thread that has work.
    bool may_spin(unsigned threads) const noexcept {
        return threads <= cpus_.load(std::memory_order_relaxed);
    }

    void worker(unsigned seat) noexcept {
        seats_[seat]->placement.here();
        const DefaultFloatControls controls;  // a thread begins with those of the one that creates it
        std::uint32_t last_generation = 0;
        State state = 0;
        const auto offered = [&]() noexcept {
            state = state_.load(std::memory_order_seq_cst);
            return (state & open_bit) != 0 && seat < threads_of(state) &&
                   generation_of(state) != last_generation;
        };
        for (;;) {
            // Also after a wake-up that came too late: whoever wakes a worker is about to bring more.
            if (!look_for(offered, may_spin(threads_of(state)))) {
                seats_[seat]->sleeper.prepare();
                awake_.fetch_sub(1, std::memory_order_relaxed);
                if (offered()) {
                    seats_[seat]->sleeper.cancel();
                } else {
                    seats_[seat]->sleeper.sleep();
                }
                awake_.fetch_add(1, std::memory_order_relaxed);
                continue;
            }
            if (!state_.compare_exchange_strong(state, state + one_worker, std::memory_order_seq_cst))
                continue;
            last_generation = generation_of(state);
            wake_children(seat);
            work(seat);
            // What kernels streamed past the caches is in memory after this, too: on x86 a locked instruction
            // drains the buffers of such stores (Intel SDM vol. 3, 11.3.1; AMD APM vol. 2, 7.4), so none
            // needs an sfence.
            const State before = state_.fetch_sub(one_worker, std::memory_order_seq_cst);
            // From here on the job may be over and the next one begun: a wake-up that comes late is one
            // without cause.
            if ((before & open_bit) == 0 && workers_in(before) == 1 && caller_.asleep()) caller_.wake();
        }
    }

    // The caller's seat comes first and needs no thread.
    bool add_seat() noexcept {
        if (seat_count_ == most_threads) return false;
        Seat* seat = new (std::nothrow) Seat;
        if (seat == nullptr) return false;
        seats_[seat_count_] = seat;
        if (seat_count_ > 0) {
            // The new thread begins with the processors of this one.
            if (!(recent_affinity.get_anew() == followed_)) all_follow_ = false;
            awake_.fetch_add(1, std::memory_order_relaxed);
            if (!start_worker(seat_count_)) {
                awake_.fetch_sub(1, std::memory_order_relaxed);
                delete seat;
                return false;
            }
        }
        ++seat_count_;
        return true;
    }

    bool start_worker(unsigned seat) noexcept {
#if FASTNORM_POSIX
        // Signals belong to the application's threads (Ctrl-C to Python's main thread). Those that report a
        // fault of the thread itself stay open, so that a crash handler can still speak.
        sigset_t blocked, previous;
        sigfillset(&blocked);
        for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS})
            sigdelset(&blocked, fault);
        pthread_sigmask(SIG_SETMASK, &blocked, &previous);
#endif
        const bool started = launch([this, seat]() noexcept { worker(seat); });
#if FASTNORM_POSIX
        pthread_sigmask(SIG_SETMASK, &previous, nullptr);
#endif
        return started;
    }

    // What the workers watch and read when they join lies together; what only callers touch is elsewhere.
    alignas(cache_line) std::atomic<State> state_{0};
    Job job_;
    alignas(cache_line) std::atomic<bool> claimed_{false};
    std::atomic<unsigned> awake_{0};  // workers in a job or looking for one
    std::uint32_t generation_ = 0;
    unsigned seat_count_ = 0;
    bool all_follow_ = true;  // each worker has been given, or has begun with, the processors of `followed_`
    Affinity followed_ = recent_affinity.get();
    std::atomic<unsigned> cpus_{cpus_within(followed_.count, quota())};
    alignas(cache_line) Sleeper caller_;
    Seat* seats_[most_threads];
};

std::atomic<Pool*> current_pool{nullptr};

// Null when there is no memory for one.
Pool* pool() noexcept {
    Pool* current = current_pool.load(std::memory_order_acquire);
    if (current != nullptr) return current;
    Pool* made = new (std::nothrow) Pool;
    if (made != nullptr && !current_pool.compare_exchange_strong(current, made, std::memory_order_acq_rel)) {
        delete made;
        return current;
    }
    return made;
}

// When the last job ended up on fewer threads only because the others were asleep, in clock ticks.
std::atomic<clock::rep> last_lonely_job{0};

std::atomic<int> process_setting{0};       // 0: the default
std::atomic<int> environment_setting{-1};  // 0: none, below 0: not known yet
thread_local int thread_limit = 0;         // 0: none

#if FASTNORM_POSIX
// The child may also have been given other processors (a worker of a process pool often is), so it looks
// again.
void forget_threads() {
    current_pool.store(nullptr, std::memory_order_relaxed);
    environment_setting.store(-1, std::memory_order_relaxed);
    known_quota.store(-1.0, std::memory_order_relaxed);
    recent_affinity.forget();
    creation_refused.store(false, std::memory_order_relaxed);
}

// When the library is loaded: later, a fork could come between the first use and the registration.
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, forget_threads);
#endif

// The number that somebody has set for the process; 0: nobody has.
int set_threads() noexcept {
    const int setting = process_setting.load(std::memory_order_relaxed);
    if (setting > 0) return setting;
    int n = environment_setting.load(std::memory_order_relaxed);
    if (n < 0) {
        n = threads_from_environment(std::getenv("FASTNORM_NUM_THREADS"), std::getenv("OMP_NUM_THREADS"));
        environment_setting.store(n, std::memory_order_relaxed);
    }
    return n;
}

int default_threads(const Affinity& affinity) noexcept {
    return static_cast<int>(cpus_within(affinity.count, quota()));
}

// num_threads() for a job, which takes a recent answer of the system.
int threads_of_job() noexcept {
    if (thread_limit > 0) return thread_limit;
    const int n = set_threads();
    return n > 0 ? n : default_threads(recent_affinity.get());
}

// The number of threads that the text asks for, up to `end`; 0 unless it is a positive number that fits.
int parse_threads(const char* text, char end) noexcept {
    while (*text == ' ') ++text;
    if (*text < '0' || *text > '9') return 0;
    char* rest = nullptr;
    errno = 0;
    const long n = std::strtol(text, &rest, 10);
    while (*rest == ' ') ++rest;
    const bool complete = *rest == '\0' || *rest == end;
    return complete && errno == 0 && n <= INT_MAX ? static_cast<int>(n) : 0;
}

}  // namespace

int threads_from_environment(const char* fastnorm_num_threads, const char* omp_num_threads) noexcept {
    int n = 0;
    if (fastnorm_num_threads != nullptr) n = parse_threads(fastnorm_num_threads, '\0');
    if (n == 0 && omp_num_threads != nullptr) n = parse_threads(omp_num_threads, ',');
    return n;
}

std::string threads_environment_error() {
    const char* text = std::getenv("FASTNORM_NUM_THREADS");
    if (text == nullptr || *text == '\0' || threads_from_environment(text, nullptr) > 0) return {};
    return "FASTNORM_NUM_THREADS is '" + std::string(text) + "', needs an integer from 1 to " +
           std::to_string(INT_MAX);
}

int process_num_threads() noexcept {
    const int n = set_threads();
    return n > 0 ? n : default_threads(recent_affinity.get_anew());
}

int num_threads() noexcept { return thread_limit > 0 ? thread_limit : process_num_threads(); }

void set_num_threads(int n) noexcept {
    process_setting.store(std::max(n, 0), std::memory_order_relaxed);
    creation_refused.store(false, std::memory_order_relaxed);
}

int swap_thread_limit(int n) noexcept {
    const int previous = thread_limit;
    thread_limit = std::max(n, 0);
    return previous;
}

int worthwhile_threads(double microseconds) noexcept {
    if (microseconds < 2 * awake_share_us) return 1;
    const int allowed = threads_of_job();
    const double shares = microseconds / awake_share_us;
    const int wanted = shares < allowed ? static_cast<int>(shares) : allowed;
    if (wanted == 1 || microseconds >= asleep_job_us) return wanted;
    const Pool* const current = current_pool.load(std::memory_order_acquire);
    const int ready = current == nullptr ? 1 : static_cast<int>(current->awake()) + 1;
    if (ready >= wanted) return wanted;
    // Jobs that follow each other faster than a worker falls asleep pay for waking it together.
    const clock::rep now = clock::now().time_since_epoch().count();
    const clock::rep previous = last_lonely_job.exchange(now, std::memory_order_relaxed);
    const std::chrono::duration<double, std::micro> since_previous = clock::duration(now - previous);
    return since_previous.count() < microseconds + static_cast<double>(spin_time.count()) ? wanted : ready;
}

void run_chunks(std::size_t chunks, int max_threads, ChunkFunction function, void* context) noexcept {
    if (chunks == 0) return;
    const int allowed = std::min(threads_of_job(), max_threads);
    unsigned threads = allowed > 1 ? std::min(static_cast<unsigned>(allowed), most_threads) : 1;
    if (chunks < threads) threads = static_cast<unsigned>(chunks);
    Pool* const owned = threads > 1 ? pool() : nullptr;
    if (owned != nullptr && owned->claim()) {
        threads = owned->provide(threads);
        if (threads > 1) {
            owned->follow_caller(threads);
            owned->run(chunks, threads, function, context);
        }
        owned->release();
        if (threads > 1) return;
    }
    function(context, 0, chunks);
}

}  // namespace fastnorm

extern "C" {
int fastnorm_get_num_threads(void) { return fastnorm::process_num_threads(); }
void fastnorm_set_num_threads(int n) { fastnorm::set_num_threads(n); }
}
