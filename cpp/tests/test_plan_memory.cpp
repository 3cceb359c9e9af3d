// Words sorted by their table row: every place once but those of a skipped word, by word and then in the
// order of the sentences.
#include "check.h"
#include "plan/memory.h"

#include <vector>

namespace {

using namespace fastnorm;

void test_sorting(
    const std::vector<std::int64_t>& words, std::int64_t positions, std::int64_t rows,
    std::int64_t skipped = no_word
) {
    const std::int64_t count = std::int64_t(words.size()) / positions;
    const SentenceShape shape{count, positions, rows, 20};
    std::vector<std::int64_t> first(std::size_t(rows + 1), -1);
    std::vector<WordPlace> places(words.size() + 1, WordPlace{-7, -7});
    sort_places(shape, words.data(), first.data(), places.data(), skipped);
    std::int64_t kept = 0;
    for (const std::int64_t given : words) kept += given != skipped;
    CHECK(first[0] == 0 && first[std::size_t(rows)] == kept);
    bool sorted = true;
    for (std::int64_t word = 0; word < rows; ++word) {
        std::int64_t before = -1, found = 0;
        for (std::int64_t i = first[std::size_t(word)]; i < first[std::size_t(word + 1)]; ++i, ++found) {
            const WordPlace& place = places[std::size_t(i)];
            const std::int64_t number = place.sentence * positions + place.position;
            sorted = sorted && number > before && words[std::size_t(number)] == word;
            sorted = sorted && place.position >= 0 && place.position < positions;
            before = number;
        }
        for (const std::int64_t given : words) found -= given == word && given != skipped;
        sorted = sorted && found == 0;
    }
    CHECK(sorted && places.back().sentence == -7);
}

}  // namespace

int main() {
    test_sorting({}, 1, 4);
    test_sorting({3, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 4, 4);
    test_sorting({0, 1, 2, 3, 4, 5}, 1, 6);
    std::vector<std::int64_t> words;
    for (std::int64_t i = 0; i < 600; ++i) words.push_back(i % 5 == 0 ? i * i % 41 : 0);
    test_sorting(words, 6, 50);
    test_sorting(words, 6, 50, 0);
    test_sorting({3, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 4, 4, 0);
    test_sorting({2, 2, 2}, 1, 4, 2);

    const SentenceShape shape{100, 6, 50, 40};
    CHECK(shape.words() == 600 && shape.groups() == 2);
    CHECK(embedding_work(shape, Element::float32).units == 100);
    CHECK(embedding_backward_work(shape, Element::float32).units == 50 * 2);
    CHECK(
        embedding_work(shape, Element::float64).nanoseconds ==
        2 * embedding_work(shape, Element::float32).nanoseconds
    );
    return check::report();
}
