// Dropout:  y = number < dropped ? 0 : scale x, with 16 random bits for each element.
//
// The numbers are words of Philox under the seed (simd/philox.h), by the place of the element in C order:
// those of group g = i / 256 come from blocks 16 g .. 16 g + 15. Element e of a group takes byte e / 16 % 4
// of word 16 (e / 64) + e % 16 as the upper byte of its number, and the same byte of stream 1 as the lower
// one, which is not made where `dropped` is a multiple of 256 and the upper one decides. Source: Srivastava
// et al., "Dropout", 2014.
#pragma once

#include <cstring>

#include "kernels/loops/row_span.h"
#include "simd/philox.h"
#include "tasks/regularisers.h"

FASTNORM_TARGET_BEGIN

// Calls body(e, numbers) for the numbers of elements e .. e + 15 of a group. `lower` is null where the upper
// bytes decide.
//
// A number is the upper bits of the fraction of a float from 1 to 2; bits of the word that follow it are
// below what can decide.
template <class Body>
FASTNORM_INLINE void for_numbers(const std::uint32_t* upper, const std::uint32_t* lower, Body body) {
    using F = Vec<float, 16>;
    const auto words = [](const std::uint32_t* place) FASTNORM_INLINE_LAMBDA {
        return as_bits(load<F>(reinterpret_cast<const float*>(place)));
    };
    const auto number = [](Bits<float, 16> bits) FASTNORM_INLINE_LAMBDA {
        return from_bits((bits & broadcast_bits<F>(0x007fffff)) | broadcast_bits<F>(0x3f800000));
    };
    for (int e = 0; e < dropout_group; e += 64) {
        auto odd = words(upper + e / 4), even = odd << 8;
        if (lower) {
            const auto high = broadcast_bits<F>(0xff00ff00), low = broadcast_bits<F>(0x00ff00ff);
            const auto rest = words(lower + e / 4);
            odd = (odd & high) | ((rest >> 8) & low);
            even = (even & high) | (rest & low);
        }
        body(e, number(even << 7));
        body(e + 16, number(odd << 7));
        body(e + 32, number(even >> 9));
        body(e + 48, number(odd >> 9));
    }
}
FASTNORM_OUTLINE void store_numbers(const std::uint32_t* upper, const std::uint32_t* lower, float* numbers) {
    for_numbers(upper, lower, [&](int e, Vec<float, 16> number) FASTNORM_INLINE_LAMBDA {
        store(numbers + e, number);
    });
}

// A whole group. Only float32 takes the numbers from registers, where code need not be small: by way of
// memory 16 elements take two cycles more.
template <class T>
FASTNORM_INLINE void drop_group(
    const Dropout& task, const T* x, T* y, bool streaming, const std::uint32_t* upper,
    const std::uint32_t* lower
) {
    using C = compute_t<T>;
    using V = Vec<C, 16>;
    const V scale = broadcast<V>(C(task.scale)), zero = broadcast<V>(0);
    const V edge = broadcast<V>(C(1 + double(task.dropped) / double(dropout_levels)));
    if constexpr (sizeof(T) == 4 && !is_compact) {
        for_numbers(upper, lower, [&](int e, V number) FASTNORM_INLINE_LAMBDA {
            const V kept = select(number < edge, zero, load<V>(x + e) * scale);
            write_columns(y + e, kept, Whole{}, streaming);
        });
    } else {
        alignas(64) float numbers[dropout_group];
        store_numbers(upper, lower, numbers);
        for (int e = 0; e < dropout_group; e += 16) {
            const V kept = select(load_row<V>(numbers + e) < edge, zero, load_row<V>(x + e) * scale);
            write_columns(y + e, kept, Whole{}, streaming);
        }
    }
}

template <class T>
void dropout(const Dropout& task, std::int64_t begin, std::int64_t end, void* scratch) {
    T* const space = static_cast<T*>(scratch);
    const RowSpan<T> x(task.shape, task.x, space), y(task.shape, task.y, space + dropout_group);
    const PhiloxKeys keys(task.seed);
    const bool is_fine = task.dropped % 256 != 0;
    for (std::int64_t group = begin; group < end; ++group) {
        alignas(64) std::uint32_t upper[philox_words], lower[philox_words];
        const std::uint64_t first = std::uint64_t(group) * philox_blocks;
        philox(keys, first, 0, upper);
        if (is_fine) philox(keys, first, 1, lower);
        const std::int64_t column = group * dropout_group;
        const std::int64_t count = smaller(dropout_group, task.shape.cols - column);
        const T* from = x.fetch(0, column, count);
        T* const to = y.place(0, column);
        T rest[dropout_group];
        const bool is_whole = count == dropout_group;
        if (!is_whole) {
            std::memset(rest, 0, sizeof rest);
            std::memcpy(rest, from, std::size_t(count) * sizeof(T));
            from = rest;
        }
        drop_group(
            task, from, is_whole ? to : rest, task.stream && is_whole, upper, is_fine ? lower : nullptr
        );
        if (!is_whole) std::memcpy(to, rest, std::size_t(count) * sizeof(T));
        y.write_back(0, column, count);
    }
}

FASTNORM_TARGET_END
