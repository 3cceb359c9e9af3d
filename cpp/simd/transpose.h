// Squares of registers, transposed, and columns of rows that lie apart in memory.
#pragma once

#include <cstring>

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

// square[i] lane j <-> square[j] lane i. Interleaving the rows i and i + N/2 moves the highest bit of the
// row's number to the lowest of the lane's, and the highest of the lane's to the lowest of the row's: log2(N)
// rounds exchange them.
template <class T, int N>
FASTNORM_INLINE void transpose(Vec<T, N> (&square)[N]) {
    Vec<T, N> turned[N];
    if constexpr (N > 1) {
        FASTNORM_UNROLL_REGISTERS
        for (int round = 1; round < N; round *= 2) {
            FASTNORM_UNROLL_REGISTERS
            for (int i = 0; i < N / 2; ++i)
                interleave(square[i], square[i + N / 2], turned[2 * i], turned[2 * i + 1]);
            FASTNORM_UNROLL_REGISTERS
            for (int i = 0; i < N; ++i) square[i] = turned[i];
        }
    }
}

// ---- columns ----------------------------------------------------------------------------------------------
//
// As many neighbouring columns as sixteen bytes hold, each as a vector whose lane i is row i. Pieces of
// sixteen bytes are brought together from memory, which is not the work of the port that shuffles, and
// transposed within them: for a register of 16 floats 12 insertions and 8 shuffles make four columns, where a
// whole square takes 64 shuffles for sixteen.

template <class C>
constexpr int column_group = int(16 / sizeof(C));

// Whether registers hold such pieces.
constexpr bool has_pieces = native<float> >= 4;

// row(i) is the address of row i.
template <class Row, class C, int N>
FASTNORM_INLINE void load_column_group(Row row, Vec<C, N> (&columns)[column_group<C>]) {
    if constexpr (N == native<C> && has_pieces) {
        // A register has the pieces of rows j, j + column_group, j + 2 column_group, ...
        FASTNORM_UNROLL
        for (int j = 0; j < column_group<C>; ++j) load_pieces(row, j, column_group<C>, columns[j]);
        transpose_pieces(columns);
    } else if constexpr (N == native<C>) {
        for (int j = 0; j < column_group<C>; ++j) columns[j] = load<Vec<C, N>>(row(0) + j);
    } else {
        Vec<C, N / 2> lower_rows[column_group<C>], upper_rows[column_group<C>];
        load_column_group(row, lower_rows);
        load_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return row(i + N / 2); }, upper_rows);
        for (int j = 0; j < column_group<C>; ++j) columns[j] = join(lower_rows[j], upper_rows[j]);
    }
}

// The columns of such a group back to rows.
template <class Row, class C, int N>
FASTNORM_INLINE void store_column_group(Row row, Vec<C, N> (&columns)[column_group<C>]) {
    if constexpr (N == native<C> && has_pieces) {
        transpose_pieces(columns);
        FASTNORM_UNROLL
        for (int j = 0; j < column_group<C>; ++j) store_pieces(row, j, column_group<C>, columns[j]);
    } else if constexpr (N == native<C>) {
        for (int j = 0; j < column_group<C>; ++j) store(row(0) + j, columns[j]);
    } else {
        Vec<C, N / 2> lower_rows[column_group<C>], upper_rows[column_group<C>];
        for (int j = 0; j < column_group<C>; ++j)
            lower_rows[j] = lower(columns[j]), upper_rows[j] = upper(columns[j]);
        store_column_group(row, lower_rows);
        store_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return row(i + N / 2); }, upper_rows);
    }
}

// ---- squares ----------------------------------------------------------------------------------------------

// Lanes of two halves each, of which the even ones come first. Targets with instructions for float16 have
// their own.
template <class V>
FASTNORM_INLINE void widen_pairs(V pairs, V& even, V& odd, const bfloat16*) {
    even = from_bits(as_bits(pairs) << 16);
    odd = from_bits(as_bits(pairs) & broadcast_bits<V>(0xffff0000));
}

// The rows of a square `step` elements apart, or one by one. row(i) is called once for each, rows that differ
// by square_group in turn.
template <class C>
constexpr int square_group = has_pieces ? column_group<C> : 1;

template <class S, class C>
struct SteppedRows {
    static constexpr int strips = native<C> / square_group<C>;
    const S* at[strips];
    std::int64_t step;

    FASTNORM_INLINE SteppedRows(const S* first, std::int64_t between) : step(between) {
        FASTNORM_UNROLL
        for (int strip = 0; strip < strips; ++strip) {
            at[strip] = strip == 0 ? first : at[strip - 1] + square_group<C> * step;
            FASTNORM_WALKED(at[strip]);
        }
    }
    FASTNORM_INLINE const S* operator()(int i) {
        const int strip = i / square_group<C>;
        const S* const row = at[strip];
        at[strip] += step;
        FASTNORM_WALKED(at[strip]);
        return row;
    }
};

// square[k] lane i = element k of row i. Pieces of sixteen bytes are brought together from memory and turned;
// halves as pairs. All of a row is loaded at once, since lines of rows that are far apart may share a set of
// the cache. between(n), for n from 0 to N - 1, is what is done meanwhile.
template <class S, class C, int N, class Rows, class Between>
FASTNORM_INLINE void load_square(Rows row, Vec<C, N> (&square)[N], Between between) {
    using V = Vec<C, N>;
    constexpr int group = square_group<C>, strips = N / group;
    if constexpr (has_pieces && N * sizeof(S) >= 16) {
        constexpr int groups = N * int(sizeof(S)) / 16;
        V pieces[groups][group];
        FASTNORM_UNROLL
        for (int j = 0; j < group; ++j) {
            const S* rows[strips];
            FASTNORM_UNROLL
            for (int strip = 0; strip < strips; ++strip) rows[strip] = row(strip * group + j);
            FASTNORM_UNROLL
            for (int p = 0; p < groups; ++p) {
                const auto piece = [&](int i) FASTNORM_INLINE_LAMBDA {
                    return reinterpret_cast<const char*>(rows[i / group]) + 16 * p;
                };
                load_pieces(piece, j, group, pieces[p][j]);
            }
            FASTNORM_UNROLL
            for (int strip = 0; strip < strips; ++strip) between(j * strips + strip);
        }
        FASTNORM_UNROLL
        for (int p = 0; p < groups; ++p) {
            transpose_pieces(pieces[p]);
            FASTNORM_UNROLL
            for (int j = 0; j < group; ++j) {
                if constexpr (sizeof(S) == 2) {
                    V* const pair = square + 2 * (p * group + j);
                    widen_pairs(pieces[p][j], pair[0], pair[1], static_cast<const S*>(nullptr));
                } else {
                    square[p * group + j] = pieces[p][j];
                }
            }
        }
    } else {
        FASTNORM_UNROLL
        for (int j = 0; j < group; ++j) {
            FASTNORM_UNROLL
            for (int strip = 0; strip < strips; ++strip) {
                square[strip * group + j] = load<V>(row(strip * group + j));
                between(j * strips + strip);
            }
        }
        transpose(square);
    }
}
template <class S, class C, int N, class Rows>
FASTNORM_INLINE void load_square(Rows row, Vec<C, N> (&square)[N]) {
    load_square<S>(row, square, [](int) FASTNORM_INLINE_LAMBDA {});
}

// ---- elements moved, whatever they are --------------------------------------------------------------------

// A strip is sixteen bytes of each of `strip_rows` rows, `strip_columns` elements of `Size` bytes.
template <int Size>
constexpr int strip_columns = 16 / Size;
template <int Size>
constexpr int strip_rows = !has_pieces ? 1
                           : Size == 8 ? native<double>
                           : Size == 4 ? native<float>
                                       : 8;

template <class C>
FASTNORM_INLINE void transpose_elements(
    const char* const* source, std::int64_t from, char* const* target, std::int64_t to
) {
    Vec<C, native<C>> columns[column_group<C>];
    load_column_group(
        [=](int i) FASTNORM_INLINE_LAMBDA { return reinterpret_cast<const C*>(source[i] + from); }, columns
    );
    FASTNORM_UNROLL
    for (int j = 0; j < column_group<C>; ++j) std::memcpy(target[j] + to, &columns[j], sizeof columns[j]);
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
