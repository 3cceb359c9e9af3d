// The float32 gelu kernels of one target against a double evaluation, over any part of the 2^32 inputs.
//
// tools/gelu_sweep.py compiles this file once per target as a shared library and drives it; it defines FASTNORM_TARGET
// and FASTNORM_REGISTERS as the target files in cpp/targets do.
#include "kernels/gelu.h"

#include <cmath>
#include <cstring>

namespace {

using namespace fastnorm;
using namespace fastnorm::FASTNORM_TARGET;

constexpr int block = 4096;

using FloatKernel = void (*)(const float* x, float* y);
using DoubleKernel = void (*)(const double* x, double* y, std::int64_t count);

template <Approximation form, bool derivative>
void float_block(const float* x, float* y) {
    using V = Vec<float, native<float>>;
    for (int i = 0; i < block; i += native<float>) {
        const V v = load<V>(x + i);
        store(y + i, derivative ? gelu_derivative<form>(v) : gelu<form>(v));
    }
}

template <Approximation form, bool derivative>
void reference_values(const double* x, double* y, std::int64_t count) {
    constexpr int lanes = native<double>;
    using V = Vec<double, lanes>;
    for (std::int64_t i = 0; i < count; i += lanes) {
        const int here = int(count - i < lanes ? count - i : lanes);
        const V v = load_partial<V>(x + i, here, 0);
        store_partial(y + i, derivative ? gelu_derivative<form>(v) : gelu<form>(v), here);
    }
}

#define FASTNORM_SWEEP_FUNCTIONS(kernel)                                                                            \
    {kernel<Approximation::none, false>, kernel<Approximation::none, true>,     kernel<Approximation::tanh, false>, \
     kernel<Approximation::tanh, true>,  kernel<Approximation::sigmoid, false>, kernel<Approximation::sigmoid, true>}
constexpr FloatKernel float_kernels[] = FASTNORM_SWEEP_FUNCTIONS(float_block);
constexpr DoubleKernel references[] = FASTNORM_SWEEP_FUNCTIONS(reference_values);

// Spacing of floats at |value|: 2^-149 for subnormal ones.
double spacing(double value) {
    int exponent;
    std::frexp(value, &exponent);
    return std::ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
}

}  // namespace

struct SweepResult {
    double worst;  // in units in the last place of the exact value's binade
    float worst_x;
    std::uint32_t broken;  // NaN, infinity or the sign of a zero not as it should be
    std::uint64_t counted, correctly_rounded;
};

extern "C" {

// 1 if this processor can run the target.
int sweep_supported(int target) {
    if (target == 2) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (target == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}

// Functions 0 ... 5: none, its derivative, tanh, its derivative, sigmoid, its derivative.
void sweep_reference(int function, const double* x, double* y, std::int64_t count) {
    references[function](x, y, count);
}

// Inputs are the floats with bits first, first + stride, ... below last. `reference` is sweep_reference of any target.
void sweep_range(
    int function, std::uint64_t first, std::uint64_t last, std::uint64_t stride,
    void (*reference)(int, const double*, double*, std::int64_t), SweepResult* result
) {
    static thread_local float x[block], y[block];
    static thread_local double wide[block], exact[block];
    *result = SweepResult{};
    while (first < last) {
        int count = 0;
        for (; count < block && first < last; ++count, first += stride) {
            const std::uint32_t bits = std::uint32_t(first);
            std::memcpy(&x[count], &bits, sizeof bits);
            wide[count] = x[count];
        }
        float_kernels[function](x, y);
        reference(function, wide, exact, count);
        for (int i = 0; i < count; ++i) {
            if (std::isnan(x[i])) {
                result->broken += !std::isnan(y[i]);
                continue;
            }
            const float rounded = float(exact[i]);
            ++result->counted;
            if (y[i] == rounded && std::signbit(y[i]) == std::signbit(rounded)) {
                ++result->correctly_rounded;
                if (std::isinf(rounded)) continue;
            } else if (std::isinf(rounded) || std::signbit(y[i]) != std::signbit(rounded)) {
                ++result->broken;
                continue;
            }
            const double error = std::fabs(double(y[i]) - exact[i]) / spacing(exact[i]);
            if (!(error <= result->worst)) {
                result->worst = error;
                result->worst_x = x[i];
            }
        }
    }
}

}  // extern "C"
