// Checks for the native test programs. A program defines its tests as functions, calls them from main and
// ends with `return report();`.
#pragma once

#include <atomic>
#include <cstdio>

#if defined(__SANITIZE_THREAD__)
#define FASTNORM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FASTNORM_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FASTNORM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FASTNORM_ASAN 1
#endif
#endif

// ThreadSanitizer cannot follow a child that was forked from a process with several threads, and ends it as
// soon as it starts a thread of its own.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(FASTNORM_TSAN)
#define FASTNORM_TEST_FORK 1
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace check {

inline std::atomic<int> passed{0};
inline std::atomic<int> failed{0};

inline void note(bool ok, const char* condition, const char* file, int line) {
    if (ok) {
        ++passed;
    } else {
        ++failed;
        std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, condition);
    }
}

inline int report() {
    std::printf("%d passed, %d failed\n", passed.load(), failed.load());
    return failed == 0 ? 0 : 1;
}

#if FASTNORM_TEST_FORK
// Runs the test in a forked child, whose failed checks are printed and count as one here. A child that hangs
// is killed by its alarm, which counts as a failure too.
template <class Test>
bool passes_in_child(const Test& test) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        failed = 0;
        test();
        _exit(failed == 0 ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#endif

}  // namespace check

#define CHECK(condition) check::note(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
