// The float32 activations of one target against a double evaluation, over any part of the 2^32 inputs.
//
// tools/sweep.py compiles this file once per target as a shared library and drives it; it defines
// FASTNORM_TARGET and FASTNORM_REGISTERS as the build does.
#include "kernels/activations/activations.cpp"  // every kernel of the family
#include "kernels/copies/gather.h"              // which its loops call

#include <cmath>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

using namespace fastnorm;
using namespace fastnorm::FASTNORM_TARGET;

constexpr int block = 4096;

using FloatKernel = void (*)(const float* x, float* y);
using DoubleKernel = void (*)(const double* x, double* y, std::int64_t count);

template <class Function>
void float_block(const float* x, float* y, Function f) {
    using V = Vec<float, native<float>>;
    for (int i = 0; i < block; i += native<float>) store(y + i, f(load<V>(x + i)));
}

template <class Function>
void reference_values(const double* x, double* y, std::int64_t count, Function f) {
    constexpr int lanes = native<double>;
    using V = Vec<double, lanes>;
    for (std::int64_t i = 0; i < count; i += lanes) {
        const int here = int(count - i < lanes ? count - i : lanes);
        store_partial(y + i, f(load_partial<V>(x + i, here, 0)), here);
    }
}

// The functions, which sweep.py writes to swept.inc.
struct Kernel {
    FloatKernel block;
    DoubleKernel reference;
};
#define FASTNORM_SWEPT(expression)                                                           \
    {[](const float* x, float* y) { float_block(x, y, [](auto v) { return expression; }); }, \
     [](const double* x, double* y, std::int64_t count) {                                    \
         reference_values(x, y, count, [](auto v) { return expression; });                   \
     }}
template <class V>
V same(V, double number) {
    return broadcast<V>(element_t<V>(number));
}
const Kernel swept[] = {
#include "swept.inc"
};

}  // namespace

struct SweepResult {
    double worst;  // of those not correctly rounded, in units in the last place of the exact value's binade
    float worst_x;
    float broken_x;        // the first of the broken ones
    std::uint32_t broken;  // NaN, infinity or the sign of a result not as it should be
    std::uint64_t counted, correctly_rounded;
};

namespace {

template <class To, class From>
To bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// What turns an error into units in the last place of a float of size |value|: 1 / 2^-149 for subnormal ones.
double units(double value) {
    const std::uint64_t exponent = bits_as<std::uint64_t>(value) >> 52 & 0x7ff, least = 1023 - 126;
    return bits_as<double>((2 * 1023 + 23 - (exponent < least ? least : exponent)) << 52);
}

bool is_right(float y, float rounded) { return bits_as<std::uint32_t>(y) == bits_as<std::uint32_t>(rounded); }

void judge(float x, float y, double exact, SweepResult& result) {
    if (std::isnan(x)) {
        result.broken += !std::isnan(y);
        return;
    }
    const float rounded = float(exact);
    ++result.counted;
    if (is_right(y, rounded)) {
        ++result.correctly_rounded;
        return;
    }
    if (std::isinf(rounded) || !std::isfinite(y) || std::signbit(y) != std::signbit(rounded)) {
        if (result.broken++ == 0) result.broken_x = x;
        if (!std::isfinite(y) || std::isinf(rounded)) return;
    }
    const double error = std::fabs(double(y) - exact) * units(exact);
    if (error > result.worst) {
        result.worst = error;
        result.worst_x = x;
    }
}

// The same for `group` results together, in loops that compile to vectors. Those with anything but plain
// numbers among them, and those that change what is known of the worst, are judged one by one.
constexpr int group = 256;
void judge_group(const float* x, const float* y, const double* exact, SweepResult& result) {
    constexpr std::uint32_t infinity = 0x7f800000, sign = 0x80000000;
    std::uint32_t special = 0, right = 0;
    double worst = 0;
    for (int i = 0; i < group; ++i) {
        const float rounded = float(exact[i]);
        const std::uint32_t y_bits = bits_as<std::uint32_t>(y[i]),
                            rounded_bits = bits_as<std::uint32_t>(rounded);
        special |= std::uint32_t((y_bits & infinity) == infinity) |
                   std::uint32_t((rounded_bits & infinity) == infinity);
        special |= (y_bits ^ rounded_bits) & sign;
        right += y_bits == rounded_bits;
    }
    for (int i = 0; i < group; ++i) {
        const double error = std::fabs(double(y[i]) - exact[i]) * units(exact[i]);
        const double counts = is_right(y[i], float(exact[i])) ? 0 : error;
        worst = worst > counts ? worst : counts;
    }
    if (special || worst > result.worst) {
        for (int i = 0; i < group; ++i) judge(x[i], y[i], exact[i], result);
    } else {
        result.counted += group;
        result.correctly_rounded += right;
    }
}

}  // namespace

extern "C" {

// Of whole blocks.
void sweep_results(int function, const float* x, float* y) { swept[function].block(x, y); }

// Results below 2^-1022 are 0 here: beside floats they are, and subnormal ones would take four times as long.
void sweep_reference(int function, const double* x, double* y, std::int64_t count) {
#if defined(__SSE2__)
    const unsigned state = _mm_getcsr();
    _mm_setcsr(state | _MM_FLUSH_ZERO_ON);
    swept[function].reference(x, y, count);
    _mm_setcsr(state);
#else
    swept[function].reference(x, y, count);
#endif
}

// Adds results y at x, whose exact values are given, to `result`.
void sweep_judge(
    const float* x, const float* y, const double* exact, std::int64_t count, SweepResult* result
) {
    std::int64_t i = 0;
    for (; i + group <= count; i += group) judge_group(x + i, y + i, exact + i, *result);
    for (; i < count; ++i) judge(x[i], y[i], exact[i], *result);
}

// Inputs are the floats with bits first, first + stride, ... below last; the exact values are computed once
// for all of `targets` targets. `reference` and `values` are sweep_reference and sweep_results of any
// targets.
void sweep_range(
    int function, std::uint64_t first, std::uint64_t last, std::uint64_t stride,
    void (*reference)(int, const double*, double*, std::int64_t), int targets,
    void (*const* values)(int, const float*, float*), SweepResult* results
) {
    alignas(64) float x[block] = {}, y[block];
    alignas(64) double wide[block], exact[block];
    for (int k = 0; k < targets; ++k) results[k] = SweepResult{};
    while (first < last) {
        const std::uint64_t left = (last - first + stride - 1) / stride;
        const int count = left < block ? int(left) : block;
        for (int i = 0; i < count; ++i, first += stride) {
            const std::uint32_t bits = std::uint32_t(first);
            std::memcpy(&x[i], &bits, sizeof bits);
            wide[i] = x[i];
        }
        reference(function, wide, exact, count);
        for (int k = 0; k < targets; ++k) {
            values[k](function, x, y);
            sweep_judge(x, y, exact, count, &results[k]);
        }
    }
}

}  // extern "C"
