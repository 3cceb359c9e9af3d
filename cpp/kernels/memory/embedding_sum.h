// Sums of embeddings: y[s] = sum_j encoding[j] * table[words[s][j]], and the gradient of the table.
//
// Every column is a sum of its own, so its bits do not depend on the width of registers: over the words of a
// sentence in the element type (one rounding a word), over the places of a word in double, rounded once.
// Words are sorted by table row before, so that the backward keeps a row's sum in registers: nothing is added
// to memory, a row has one writer, and neither threads nor other rows change its bits. Most sentences of a
// memory are the empty ones that fill it up: one that repeats the sentence before it is copied, and the
// places of a word in one sentence share the load of its gradient. Memory networks have no half types: those
// entries are float's. The backward is that of `embedding` too, a sentence of one word whose encoding is 1.
#pragma once

#include <cstring>

#include "simd/rows.h"
#include "tasks/memory.h"

FASTNORM_TARGET_BEGIN

template <class T>
void embedding_sum(const EmbeddingSum& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    const std::int64_t positions = task.positions, dim = task.dim;
    const C* table = static_cast<const C*>(task.table);
    const C* encoding = static_cast<const C*>(task.encoding);
    for (std::int64_t s = begin; s < end; ++s) {
        const std::int64_t* words = task.words + s * positions;
        C* y = static_cast<C*>(task.y) + s * dim;
        bool repeats = s > begin;
        for (std::int64_t j = 0; repeats && j < positions; ++j) repeats = words[j - positions] == words[j];
        if (repeats) {
            for_columns<native<C>>(0, dim, [&](std::int64_t column, auto step) FASTNORM_INLINE_LAMBDA {
                store_columns(y + column, load_columns<V>(y - dim + column, step), step);
            });
            continue;
        }
        for_columns<native<C>>(0, dim, [&](std::int64_t column, auto step) FASTNORM_INLINE_LAMBDA {
            V sum = broadcast<V>(0);
            for (std::int64_t j = 0; j < positions; ++j) {
                const V row = load_columns<V>(table + words[j] * dim + column, step);
                sum = mul_add(load_columns<V>(encoding + j * dim + column, step), row, sum);
            }
            store_columns(y + column, sum, step);
        });
    }
}

template <class T>
void embedding_sum_backward(const EmbeddingSumBackward& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    constexpr int lanes = 2 * native<C>;  // as embedding_group
    using V = Vec<double, lanes>;
    const std::int64_t dim = task.dim, groups = (dim + embedding_group - 1) / embedding_group;
    const C* dy = static_cast<const C*>(task.dy);
    if (begin == end) return;
    const std::int64_t end_row = end / groups, end_column = end % groups * embedding_group;
    std::int64_t row = begin / groups, first = begin % groups * embedding_group;
    while (row < end_row || (row == end_row && first < end_column)) {
        C* dtable = static_cast<C*>(task.dtable) + row * dim;
        if (task.first[row] == task.first[row + 1]) {
            // Most rows of a large table have no places: all that follow each other are cleared at once.
            std::int64_t next = row + 1;
            while (next < end_row && task.first[next] == task.first[next + 1]) ++next;
            const std::int64_t columns = row < end_row ? (next - row) * dim : end_column;
            std::memset(dtable + first, 0, std::size_t(columns - first) * sizeof(C));
            row = row < end_row ? next : row + 1, first = 0;
            continue;
        }
        const WordPlace* last = task.places + task.first[row + 1];
        for_columns<lanes>(
            first, smaller(first + embedding_group, dim),
            [&](std::int64_t column, auto step) FASTNORM_INLINE_LAMBDA {
                V sum = broadcast<V>(0);
                for (const WordPlace* place = task.places + task.first[row]; place < last;) {
                    const std::int64_t sentence = place->sentence;
                    const V gradient = load_columns<V>(dy + sentence * dim + column, step);
                    do {
                        const double* factors = task.encoding + place->position * dim + column;
                        sum = mul_add(load_columns<V>(factors, step), gradient, sum);
                    } while (++place < last && place->sentence == sentence);
                }
                store_columns(dtable + column, sum, step);
            }
        );
        first += embedding_group;
        if (first >= dim) first = 0, ++row;
    }
}

FASTNORM_TARGET_END
