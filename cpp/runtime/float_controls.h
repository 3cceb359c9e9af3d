// How the processor rounds and treats subnormal numbers, which results must not depend on.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#define FASTNORM_FLOAT_CONTROLS 1
#include <xmmintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#define FASTNORM_FLOAT_CONTROLS 1
#endif

namespace fastnorm {

// The register that holds them, its value by default, and those of its bits that are flags of what has
// happened.
#if defined(__x86_64__) || defined(_M_X64)
struct FloatControls {
    static constexpr std::uint32_t by_default = 0x1F80, flags = 0x3F;
    static std::uint32_t read() noexcept { return _mm_getcsr(); }
    static void write(std::uint32_t controls) noexcept { _mm_setcsr(controls); }
};
#elif FASTNORM_FLOAT_CONTROLS
struct FloatControls {
    static constexpr std::uint64_t by_default = 0, flags = 0;
    static std::uint64_t read() noexcept {
        std::uint64_t controls;
        __asm__ volatile("mrs %0, fpcr" : "=r"(controls));
        return controls;
    }
    static void write(std::uint64_t controls) noexcept {
        __asm__ volatile("msr fpcr, %0" : : "r"(controls) : "memory");
    }
};
#endif

// While it lives, this thread rounds to nearest, keeps subnormal numbers and traps nothing, whatever its
// caller has set (torch.set_flush_denormal, fesetround, a library built with -ffast-math); then the caller's
// setting is back. Without it a call would give other bits in the caller's part of the work than in that of
// the pool's threads, and different ones from caller to caller. Nothing is done on processors other than
// x86-64 and 64-bit Arm.
class DefaultFloatControls {
public:
#if FASTNORM_FLOAT_CONTROLS
    DefaultFloatControls() noexcept : callers_(FloatControls::read()) {
        if (changed()) FloatControls::write(FloatControls::by_default);
    }
    ~DefaultFloatControls() {
        if (changed()) FloatControls::write(callers_);
    }

private:
    bool changed() const noexcept { return (callers_ & ~FloatControls::flags) != FloatControls::by_default; }

    const decltype(FloatControls::read()) callers_;
#else
    DefaultFloatControls() noexcept {}
    ~DefaultFloatControls() {}
#endif

public:
    DefaultFloatControls(const DefaultFloatControls&) = delete;
    DefaultFloatControls& operator=(const DefaultFloatControls&) = delete;
};

}  // namespace fastnorm
