// Memory networks: the sums of words' embeddings, and words sorted for their gradients.
#pragma once

#include "plan/run.h"
#include "plan/view.h"
#include "tasks/memory.h"

namespace fastnorm {

// Sentences of `positions` words, each a row of tables of rows x dim.
struct SentenceShape {
    std::int64_t count = 0, positions = 0, rows = 0, dim = 0;

    std::int64_t words() const { return count * positions; }
    // Groups of columns of a table row.
    std::int64_t groups() const { return (dim + embedding_group - 1) / embedding_group; }
};

// The work for one table, in a forward and in a backward.
Work embedding_work(const SentenceShape& shape, Element element);
Work embedding_backward_work(const SentenceShape& shape, Element element);

// The places of every word, by word and then in the order of the sentences; first[r], of rows + 1, is where
// those of word r start. Words are rows of the tables; one that is `skipped` has no places.
constexpr std::int64_t no_word = -1;
void sort_places(
    const SentenceShape& shape, const std::int64_t* words, std::int64_t* first, WordPlace* places,
    std::int64_t skipped = no_word
) noexcept;

}  // namespace fastnorm
