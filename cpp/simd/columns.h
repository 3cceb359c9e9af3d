// Columns of rows that lie apart in memory: as many neighbouring columns as sixteen bytes hold, each as a
// vector whose lane i is row i. Pieces of sixteen bytes are brought together from memory, which is not the
// work of the port that shuffles, and transposed within them: for a register of 16 floats 12 insertions and 8
// shuffles make four columns, where a whole square takes 64 shuffles for sixteen.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

template <class C>
constexpr int column_group = int(16 / sizeof(C));

#if defined(FASTNORM_REGISTER_BYTES)

#if FASTNORM_REGISTER_BYTES == 64
#define FASTNORM_REGISTER_NAME(name) _mm512_##name
#elif FASTNORM_REGISTER_BYTES == 32
#define FASTNORM_REGISTER_NAME(name) _mm256_##name
#else
#define FASTNORM_REGISTER_NAME(name) _mm_##name
#endif

FASTNORM_INLINE __m128 load_piece(const void* row) { return _mm_loadu_ps(static_cast<const float*>(row)); }

// The pieces of rows `first`, `first` + `apart`, `first` + 2 `apart` ...
template <class Row>
FASTNORM_INLINE auto pieces_of(Row row, int first, int apart) {
#if FASTNORM_REGISTER_BYTES == 64
    const __m512 one = _mm512_castps128_ps512(load_piece(row(first)));
    const __m512 two = _mm512_insertf32x4(one, load_piece(row(first + apart)), 1);
    const __m512 three = _mm512_insertf32x4(two, load_piece(row(first + 2 * apart)), 2);
    return _mm512_insertf32x4(three, load_piece(row(first + 3 * apart)), 3);
#elif FASTNORM_REGISTER_BYTES == 32
    return _mm256_insertf128_ps(
        _mm256_castps128_ps256(load_piece(row(first))), load_piece(row(first + apart)), 1
    );
#else
    (void)apart;
    return load_piece(row(first));
#endif
}

template <class Row>
FASTNORM_INLINE void load_registers(Row row, Vec<float, native<float>> (&columns)[4]) {
    const auto pair_low = [](auto a, auto b) FASTNORM_INLINE_LAMBDA {
        return FASTNORM_REGISTER_NAME(castpd_ps)(FASTNORM_REGISTER_NAME(unpacklo_pd)(
            FASTNORM_REGISTER_NAME(castps_pd)(a), FASTNORM_REGISTER_NAME(castps_pd)(b)
        ));
    };
    const auto pair_high = [](auto a, auto b) FASTNORM_INLINE_LAMBDA {
        return FASTNORM_REGISTER_NAME(castpd_ps)(FASTNORM_REGISTER_NAME(unpackhi_pd)(
            FASTNORM_REGISTER_NAME(castps_pd)(a), FASTNORM_REGISTER_NAME(castps_pd)(b)
        ));
    };
    const auto a = pieces_of(row, 0, 4), b = pieces_of(row, 1, 4), c = pieces_of(row, 2, 4),
               d = pieces_of(row, 3, 4);
    const auto ab = FASTNORM_REGISTER_NAME(unpacklo_ps)(a, b), cd = FASTNORM_REGISTER_NAME(unpacklo_ps)(c, d);
    const auto ab_high = FASTNORM_REGISTER_NAME(unpackhi_ps)(a, b),
               cd_high = FASTNORM_REGISTER_NAME(unpackhi_ps)(c, d);
    columns[0] = {pair_low(ab, cd)};
    columns[1] = {pair_high(ab, cd)};
    columns[2] = {pair_low(ab_high, cd_high)};
    columns[3] = {pair_high(ab_high, cd_high)};
}
template <class Row>
FASTNORM_INLINE void load_registers(Row row, Vec<double, native<double>> (&columns)[2]) {
    const auto a = FASTNORM_REGISTER_NAME(castps_pd)(pieces_of(row, 0, 2));
    const auto b = FASTNORM_REGISTER_NAME(castps_pd)(pieces_of(row, 1, 2));
    columns[0] = {FASTNORM_REGISTER_NAME(unpacklo_pd)(a, b)};
    columns[1] = {FASTNORM_REGISTER_NAME(unpackhi_pd)(a, b)};
}
#undef FASTNORM_REGISTER_NAME

#else
template <class Row, class C, int Group>
FASTNORM_INLINE void load_registers(Row row, Vec<C, 1> (&columns)[Group]) {
    for (int j = 0; j < Group; ++j) __builtin_memcpy(&columns[j], row(0) + j, sizeof(C));
}
#endif

// row(i) is the address of row i.
template <class Row, class C, int N>
FASTNORM_INLINE void load_column_group(Row row, Vec<C, N> (&columns)[column_group<C>]) {
    if constexpr (N == native<C>) {
        load_registers(row, columns);
    } else {
        Vec<C, N / 2> lower_rows[column_group<C>], upper_rows[column_group<C>];
        load_column_group(row, lower_rows);
        load_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return row(i + N / 2); }, upper_rows);
        for (int j = 0; j < column_group<C>; ++j) columns[j] = join(lower_rows[j], upper_rows[j]);
    }
}

// ---- elements moved, whatever they are --------------------------------------------------------------------

// A strip is sixteen bytes of each of `strip_rows` rows, `strip_columns` elements of `Size` bytes.
#if defined(FASTNORM_REGISTER_BYTES)
template <int Size>
constexpr int strip_rows = Size == 8   ? native<double>
                           : Size == 4 ? native<float>
                                       : 8;
#else
template <int Size>
constexpr int strip_rows = 1;
#endif
template <int Size>
constexpr int strip_columns = 16 / Size;

template <class C>
FASTNORM_INLINE void transpose_elements(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    Vec<C, native<C>> columns[column_group<C>];
    load_column_group(
        [=](int i) FASTNORM_INLINE_LAMBDA { return reinterpret_cast<const C*>(source[i] + from); }, columns
    );
    FASTNORM_UNROLL
    for (int j = 0; j < column_group<C>; ++j)
        __builtin_memcpy(target[j] + to, &columns[j], sizeof columns[j]);
}

FASTNORM_INLINE void transpose_halves(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
#if defined(FASTNORM_REGISTER_BYTES)
    __m128i a[8], b[8];
    FASTNORM_UNROLL
    for (int i = 0; i < 8; ++i) a[i] = _mm_castps_si128(load_piece(source[i] + from));
    // A round interleaves rows i and i + 4; three of them exchange the bits of the row's number and the
    // column's.
    FASTNORM_UNROLL
    for (int round = 0; round < 3; ++round) {
        FASTNORM_UNROLL
        for (int i = 0; i < 4; ++i) {
            b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
            b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
        }
        FASTNORM_UNROLL
        for (int i = 0; i < 8; ++i) a[i] = b[i];
    }
    FASTNORM_UNROLL
    for (int j = 0; j < 8; ++j) _mm_storeu_si128(reinterpret_cast<__m128i*>(target[j] + to), a[j]);
#else
    for (int j = 0; j < 8; ++j) __builtin_memcpy(target[j] + to, source[0] + from + 2 * j, 2);
#endif
}

// Element j of row i of a strip, at source[i] + from, goes to place i of column j, target[j] + to.
template <int Size>
FASTNORM_INLINE void transpose_strip(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    if constexpr (Size == 8) {
        transpose_elements<double>(source, from, target, to);
    } else if constexpr (Size == 4) {
        transpose_elements<float>(source, from, target, to);
    } else {
        transpose_halves(source, from, target, to);
    }
}

FASTNORM_TARGET_END
