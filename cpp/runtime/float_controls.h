// How the processor rounds and treats subnormal numbers, which results must not depend on.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#define FASTNORM_MXCSR 1
#include <xmmintrin.h>
#endif

namespace fastnorm {

// While it lives, this thread rounds to nearest, keeps subnormal numbers and traps nothing, whatever its
// caller has set (torch.set_flush_denormal, fesetround, a library built with -ffast-math); then the caller's
// setting is back. Without it a call would give other bits in the caller's part of the work than in that of
// the pool's threads, and different ones from caller to caller. Nothing to do yet on processors other than
// x86-64.
class DefaultFloatControls {
public:
#if FASTNORM_MXCSR
    DefaultFloatControls() noexcept : callers_(_mm_getcsr()) {
        if (changed()) _mm_setcsr(default_controls);
    }
    ~DefaultFloatControls() {
        if (changed()) _mm_setcsr(callers_);
    }

private:
    // The rest of the register are flags of what has happened.
    static constexpr unsigned flags = 0x3F, default_controls = 0x1F80;
    bool changed() const noexcept { return (callers_ & ~flags) != default_controls; }

    const unsigned callers_;
#else
    DefaultFloatControls() noexcept {}
    ~DefaultFloatControls() {}
#endif

public:
    DefaultFloatControls(const DefaultFloatControls&) = delete;
    DefaultFloatControls& operator=(const DefaultFloatControls&) = delete;
};

}  // namespace fastnorm
