#include "plan/memory.h"

#include <algorithm>

namespace fastnorm {

namespace {

// One thread's time for a word in a group of columns; measured in cache, float32.
constexpr double forward_nanoseconds = 1;
constexpr double backward_nanoseconds = 2;
// Sentences, or groups of columns of table rows, are shared out in chunks of about this.
constexpr double chunk_nanoseconds = 5000;

double word_nanoseconds(const SentenceShape& shape, Element element, double word) {
    return double(shape.words() * shape.groups()) * word * (element == Element::float64 ? 2 : 1);
}

Work in_chunks(std::int64_t units, double nanoseconds) {
    const double unit = nanoseconds / double(std::max<std::int64_t>(units, 1));
    return {
        units, std::max<std::int64_t>(1, std::int64_t(chunk_nanoseconds / std::max(unit, 1.0))), nanoseconds,
        0
    };
}

}  // namespace

Work embedding_work(const SentenceShape& shape, Element element) {
    return in_chunks(shape.count, word_nanoseconds(shape, element, forward_nanoseconds));
}

Work embedding_backward_work(const SentenceShape& shape, Element element) {
    const std::int64_t units = shape.rows * shape.groups();
    return in_chunks(units, word_nanoseconds(shape, element, backward_nanoseconds) + double(units));
}

void sort_places(
    const SentenceShape& shape, const std::int64_t* words, std::int64_t* first, WordPlace* places,
    std::int64_t skipped
) noexcept {
    const std::int64_t count = shape.words();
    // Calls run(word, begin, end) for the runs of one word, as empty sentences are: counting those one by one
    // in memory would take five cycles each.
    const auto for_runs = [&](auto run) {
        for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
            do ++end;
            while (end < count && words[end] == words[begin]);
            run(words[begin], begin, end);
        }
    };
    // first[r + 1] counts the places of word r, then tells where the next of them goes.
    std::fill(first, first + shape.rows + 1, 0);
    for_runs([&](std::int64_t word, std::int64_t begin, std::int64_t end) {
        if (word != skipped) first[word + 1] += end - begin;
    });
    std::int64_t total = 0;
    for (std::int64_t r = 1; r <= shape.rows; ++r) {
        const std::int64_t places_before = total;
        total += first[r];
        first[r] = places_before;
    }
    WordPlace place{0, 0};
    for_runs([&](std::int64_t word, std::int64_t begin, std::int64_t end) {
        if (word == skipped) {
            place = {end / shape.positions, end % shape.positions};
            return;
        }
        WordPlace* next = places + first[word + 1];
        first[word + 1] += end - begin;
        for (std::int64_t i = begin; i < end; ++i) {
            *next++ = place;
            if (++place.position == shape.positions) place = {place.sentence + 1, 0};
        }
    });
}

}  // namespace fastnorm
