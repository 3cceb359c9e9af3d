// Random words by their number: Philox 4x32-10, four words of 32 bits from a counter and a key, sixteen
// counters at once. Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// 2011.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

constexpr int philox_rounds = 10, philox_blocks = 16, philox_words = 4 * philox_blocks;

// The keys of the rounds.
struct PhiloxKeys {
    explicit PhiloxKeys(std::uint64_t seed) {
        std::uint32_t key0 = std::uint32_t(seed), key1 = std::uint32_t(seed >> 32);
        for (int round = 0; round < philox_rounds; ++round, key0 += 0x9e3779b9, key1 += 0xbb67ae85)
            first[round] = key0, second[round] = key1;
    }
    std::int64_t first[philox_rounds], second[philox_rounds];
};

// The words of counters first .. first + 15 with `stream` as their third word: word w of block b goes to
// place 2 b + w % 2 of the half w / 2 of `words`.
//
// A lane of 64 bits holds a word in its lower half. What is above it is left of products, and no product sees
// it: the multiplication takes the lower halves alone.
FASTNORM_OUTLINE void philox(
    const PhiloxKeys& keys, std::uint64_t first, std::int64_t stream, std::uint32_t* words
) {
    using V = Vec<double, philox_blocks>;
    using B = Bits<double, philox_blocks>;
    alignas(64) static const std::int64_t places[philox_blocks] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                                   8, 9, 10, 11, 12, 13, 14, 15};
    const B low = broadcast_bits<V>(0xffffffff);
    const B m0 = broadcast_bits<V>(0xd2511f53), m1 = broadcast_bits<V>(0xcd9e8d57);
    B c0 = broadcast_bits<V>(std::int64_t(first)) + as_bits(load<V>(reinterpret_cast<const double*>(places)));
    B c1 = c0 >> 32, c2 = broadcast_bits<V>(stream), c3 = broadcast_bits<V>(0);
#if !FASTNORM_IS_COMPACT
    FASTNORM_UNROLL
#endif
    for (int round = 0; round < philox_rounds; ++round) {
        const B p0 = multiply_words(c0, m0), p1 = multiply_words(c2, m1);
        c0 = (p1 >> 32) ^ c1 ^ broadcast_bits<V>(keys.first[round]);
        c2 = (p0 >> 32) ^ c3 ^ broadcast_bits<V>(keys.second[round]);
        c1 = p1, c3 = p0;
    }
    double* const target = reinterpret_cast<double*>(words);
    store(target, from_bits<double, philox_blocks>((c0 & low) | (c1 << 32)));
    store(target + philox_blocks, from_bits<double, philox_blocks>((c2 & low) | (c3 << 32)));
}

FASTNORM_TARGET_END
