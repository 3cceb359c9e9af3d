// float16 and bfloat16 one at a time, by integer arithmetic: what targets and tails without conversion
// instructions use. Widening is exact; narrowing rounds to nearest even, overflows to infinity and keeps NaNs
// quiet.
#pragma once

#include <cstring>

FASTNORM_TARGET_BEGIN

FASTNORM_INLINE std::uint32_t float_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
FASTNORM_INLINE float float_from_bits(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

FASTNORM_INLINE float widen(float value) { return value; }
FASTNORM_INLINE double widen(double value) { return value; }
FASTNORM_INLINE float widen(bfloat16 value) { return float_from_bits(std::uint32_t(value.bits) << 16); }
FASTNORM_INLINE float widen(float16 value) {
    const std::uint32_t sign = std::uint32_t(value.bits & 0x8000u) << 16;
    const std::uint32_t magnitude = value.bits & 0x7fffu;
    // Moved to float's fields the exponent is 112 too small; the product also normalises subnormals.
    float scaled = float_from_bits(magnitude << 13) * float_from_bits((127u + 112u) << 23);
    if (magnitude >= 0x7c00u)
        scaled = float_from_bits(
            0x7f800000u | (magnitude & 0x3ffu) << 13 | (magnitude > 0x7c00u ? 0x400000u : 0u)
        );
    return float_from_bits(float_bits(scaled) | sign);
}

FASTNORM_INLINE void narrow(float value, float& target) { target = value; }
FASTNORM_INLINE void narrow(double value, double& target) { target = value; }
FASTNORM_INLINE void narrow(float value, bfloat16& target) {
    const std::uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        target.bits = std::uint16_t(bits >> 16 | 0x40u);
    } else {
        target.bits = std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}
FASTNORM_INLINE void narrow(float value, float16& target) {
    const std::uint32_t bits = float_bits(value);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t result;
    if (magnitude > 0x7f800000u) {
        result = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    } else if (magnitude >= 0x47800000u) {  // 2^16 and above
        result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {
        // Below 2^-14: adding 0.5 aligns the last kept bit with float's last bit and rounds there.
        result = float_bits(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        result = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    }
    target.bits = std::uint16_t(sign | result);
}

FASTNORM_TARGET_END
