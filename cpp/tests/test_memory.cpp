// The kernels of embeddings, as kernels.h tests them: tables, encodings and results end at a page that is not
// touched.
#include "kernels.h"

namespace {

// Rows are sentences and table rows, cols is dim. Half types share the kernels of float.
struct Problem {
    Element element;
    std::int64_t size, rows, dim, positions;
    std::vector<std::int64_t> words;
    Guarded table, encoding;

    explicit Problem(const Shape& s)
        : element(s.element == Element::float64 ? Element::float64 : Element::float32),
          size(compute_size(s.element)),
          rows(s.rows),
          dim(s.cols),
          positions(1 + s.cols % 5),
          table(std::size_t(rows * dim * size), s.at_end),
          encoding(std::size_t(positions * dim * size), true) {
        for (std::int64_t i = 0; i < rows * positions; ++i) words.push_back(i * i % rows);
        for (std::int64_t i = 0; i < rows * dim; ++i) put(element, table.data() + i * size, value_at(i, 1));
        for (std::int64_t i = 0; i < positions * dim; ++i)
            put(element, encoding.data() + i * size, value_at(i, 2));
    }
};

Results run_forward(const KernelTable& kernels, const Shape& s) {
    const Problem p(s);
    const Guarded y(std::size_t(p.rows * p.dim * p.size), s.at_end);
    const EmbeddingSum task{p.table.data(), p.words.data(), p.encoding.data(), y.data(), p.positions, p.dim};
    // In two pieces, as threads share them.
    kernels.embedding_sum[int(s.element)](task, p.rows / 2, p.rows, nullptr);
    kernels.embedding_sum[int(s.element)](task, 0, p.rows / 2, nullptr);
    return {{y.content()}};
}

Results run_backward(const KernelTable& kernels, const Shape& s) {
    const Problem p(s);
    std::vector<WordPlace> places;
    std::vector<std::int64_t> first;
    for (std::int64_t row = 0; row < p.rows; ++row) {
        first.push_back(std::int64_t(places.size()));
        for (std::int64_t i = 0; i < p.rows * p.positions; ++i) {
            if (p.words[std::size_t(i)] == row) places.push_back({i / p.positions, i % p.positions});
        }
    }
    first.push_back(std::int64_t(places.size()));
    Guarded encoding(std::size_t(p.positions * p.dim) * sizeof(double), true);
    for (std::int64_t i = 0; i < p.positions * p.dim; ++i)
        put(Element::float64, encoding.data() + i * 8, value_at(i, 2));
    // The table's values serve as dy.
    const Guarded dtable(std::size_t(p.rows * p.dim * p.size), s.at_end);
    const EmbeddingSumBackward task{p.table.data(), reinterpret_cast<const double*>(encoding.data()),
                                    places.data(),  first.data(),
                                    dtable.data(),  p.dim};
    const std::int64_t units = p.rows * ((p.dim + embedding_group - 1) / embedding_group);
    kernels.embedding_sum_backward[int(s.element)](task, units / 2, units, nullptr);
    kernels.embedding_sum_backward[int(s.element)](task, 0, units / 2, nullptr);
    return {{dtable.content()}};
}

}  // namespace

int main() {
    compare_all(run_forward);
    compare_all(run_backward);
    return check::report();
}
