// log and log1p against the C library's long double, over every exponent and around the ends of the
// reduction.
#include <cmath>
#include <limits>
#include <random>

#include "check.h"

#define FASTNORM_FUSED
#define FASTNORM_TARGET witness
#define FASTNORM_REGISTERS "simd/vec_scalar.h"
#include "simd/logarithm.h"

namespace {

using namespace fastnorm;

template <class T>
double error_in_ulp(T got, long double exact) {
    const int least = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
    const int exponent = exact == 0 ? least : std::ilogb(exact) + 1 - std::numeric_limits<T>::digits;
    return double(std::fabs(got - exact) / std::ldexp(1.0L, exponent < least ? least : exponent));
}

template <class T>
T log(T x) {
    return witness::log(witness::Vec<T, 1>{x}).r;
}
template <class T>
T log1p(T x) {
    return witness::log1p(witness::Vec<T, 1>{x}).r;
}

template <class T>
void test_accuracy() {
    std::mt19937_64 engine(7);
    std::uniform_real_distribution<double> fraction(1, 2);
    double worst_log = 0, worst_log1p = 0;
    for (int exponent = std::numeric_limits<T>::min_exponent; exponent < std::numeric_limits<T>::max_exponent;
         ++exponent) {
        const int count = exponent > -60 && exponent < 60 ? 20000 / int(sizeof(T)) : 20;
        for (int i = 0; i < count; ++i) {
            const T x = std::ldexp(T(fraction(engine)), exponent - 1);
            worst_log = std::fmax(worst_log, error_in_ulp(log(x), std::log((long double)(x))));
            worst_log1p = std::fmax(worst_log1p, error_in_ulp(log1p(x), std::log1p((long double)(x))));
        }
    }
    std::printf("log %.3f ULP, log1p %.3f ULP\n", worst_log, worst_log1p);
    CHECK(worst_log < 0.8);
    CHECK(worst_log1p < 1.4);
}

template <class T>
void test_special_values() {
    const T infinity = std::numeric_limits<T>::infinity(), least = std::numeric_limits<T>::denorm_min();
    CHECK(log(T(1)) == 0);
    CHECK(log(infinity) == infinity);
    CHECK(std::isnan(log(std::numeric_limits<T>::quiet_NaN())));
    CHECK(log1p(T(0)) == 0);
    CHECK(log1p(least) == least);
    CHECK(log1p(infinity) == infinity);
    CHECK(std::isnan(log1p(std::numeric_limits<T>::quiet_NaN())));
}

}  // namespace

int main() {
    test_accuracy<float>();
    test_accuracy<double>();
    test_special_values<float>();
    test_special_values<double>();
    return check::report();
}
