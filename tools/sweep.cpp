// The float32 activations of one target against a double evaluation, over any part of the 2^32 inputs.
//
// tools/sweep.py compiles this file once per target as a shared library and drives it; it defines FASTNORM_TARGET
// and FASTNORM_REGISTERS as the target files in cpp/targets do.
#include "kernels/gelu.h"
#include "kernels/sigmoid.h"
#include "kernels/silu.h"
#include "kernels/tanh.h"

#include <cmath>
#include <cstring>

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

// The functions in the order of FUNCTIONS in sweep.py.
struct Kernel {
    FloatKernel block;
    DoubleKernel reference;
};
#define FASTNORM_SWEPT(expression)                                                           \
    {[](const float* x, float* y) { float_block(x, y, [](auto v) { return expression; }); }, \
     [](const double* x, double* y, std::int64_t count) {                                    \
         reference_values(x, y, count, [](auto v) { return expression; });                   \
     }}
const Kernel swept[] = {
    FASTNORM_SWEPT(sigmoid(v)),
    FASTNORM_SWEPT(sigmoid_derivative(v)),
    FASTNORM_SWEPT(fastnorm::FASTNORM_TARGET::tanh(v)),
    FASTNORM_SWEPT(tanh_derivative(v)),
    FASTNORM_SWEPT(silu(v)),
    FASTNORM_SWEPT(silu_derivative(v)),
    FASTNORM_SWEPT(gelu<Approximation::none>(v)),
    FASTNORM_SWEPT(gelu_derivative<Approximation::none>(v)),
    FASTNORM_SWEPT(gelu<Approximation::tanh>(v)),
    FASTNORM_SWEPT(gelu_derivative<Approximation::tanh>(v)),
    FASTNORM_SWEPT(gelu<Approximation::sigmoid>(v)),
    FASTNORM_SWEPT(gelu_derivative<Approximation::sigmoid>(v)),
};

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
    float broken_x;        // the first of the broken ones
    std::uint32_t broken;  // NaN, infinity or the sign of a result not as it should be
    std::uint64_t counted, correctly_rounded;
};

extern "C" {

// 1 if this processor can run the target.
int sweep_supported(int target) {
    if (target == 2) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (target == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}

void sweep_reference(int function, const double* x, double* y, std::int64_t count) {
    swept[function].reference(x, y, count);
}

// Adds results y at x, whose exact values are given, to `result`.
void sweep_judge(const float* x, const float* y, const double* exact, std::int64_t count, SweepResult* result) {
    for (std::int64_t i = 0; i < count; ++i) {
        if (std::isnan(x[i])) {
            result->broken += !std::isnan(y[i]);
            continue;
        }
        const float rounded = float(exact[i]);
        ++result->counted;
        if (y[i] == rounded && std::signbit(y[i]) == std::signbit(rounded)) {
            ++result->correctly_rounded;
            if (std::isinf(rounded)) continue;
        } else if (std::isinf(rounded) || !std::isfinite(y[i]) || std::signbit(y[i]) != std::signbit(rounded)) {
            if (result->broken++ == 0) result->broken_x = x[i];
            if (!std::isfinite(y[i]) || std::isinf(rounded)) continue;
        }
        const double error = std::fabs(double(y[i]) - exact[i]) / spacing(exact[i]);
        if (error > result->worst) {
            result->worst = error;
            result->worst_x = x[i];
        }
    }
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
        swept[function].block(x, y);
        reference(function, wide, exact, count);
        sweep_judge(x, y, exact, count, result);
    }
}

}  // extern "C"
