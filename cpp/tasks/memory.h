// What the kernels of embeddings are given. Arrays are contiguous.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// Sentences of `positions` words, each a row of the table: y[s] = sum_j encoding[j] * table[words[s][j]], in
// the order of the positions. A unit is a sentence; table, encoding and y have `dim` columns and the compute
// type.
struct EmbeddingSum {
    const void* table;
    const std::int64_t* words;
    const void* encoding;
    void* y;
    std::int64_t positions, dim;
};

// Where a word stands.
struct WordPlace {
    std::int64_t sentence, position;
};

// The gradient with respect to the table, in the compute type: row r is the sum of encoding[j] * dy[s] over
// the places (s, j) of word r, places[first[r]] to places[first[r + 1]] in their order. A unit is a group of
// columns of a row, the groups of a row one after another.
struct EmbeddingSumBackward {
    const void* dy;
    const double* encoding;
    const WordPlace* places;
    const std::int64_t* first;
    void* dtable;
    std::int64_t dim;
};
// Two registers of float with AVX-512, as the sums of four registers of double hide each other's latency: for
// 1,600 sentences of 12 words, mostly empty, and tables of 270 x 50 a table took 128 us, with groups of 16
// and a load of dy for every word 173 (Zen 4, one thread).
constexpr std::int64_t embedding_group = 32;

}  // namespace fastnorm
