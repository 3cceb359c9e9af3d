// Heads of matrices from arrays of any layout, against plain loops, and the tiles they are divided into.
#include "check.h"
#include "plan/attention.h"
#include "runtime/dispatch.h"
#include "views.h"

#include <cmath>

namespace {

// softmax(q k' + mask) v for each head; y in C order.
std::vector<double> plain_attention(
    const Heads& heads, const TestView& q, const TestView& k, const TestView& v, const TestView& mask
) {
    const std::int64_t group = heads.group();
    const std::int64_t queries = heads.queries(), slots = heads.slots(), dim = heads.dim(),
                       width = heads.width();
    std::vector<double> y;
    for (std::int64_t row = 0; row < q.size() / dim; ++row) {
        const std::int64_t head = row / queries / group, query = row % queries;
        std::vector<double> weights, sums(static_cast<std::size_t>(width), 0.0);
        double total = 0;
        for (std::int64_t s = 0; s < slots; ++s) {
            double score = mask.get(query * slots + s);  // one for all heads
            for (std::int64_t d = 0; d < dim; ++d)
                score += q.get(row * dim + d) * k.get((head * slots + s) * dim + d);
            weights.push_back(std::exp(score));
            total += weights.back();
        }
        for (std::int64_t s = 0; s < slots; ++s) {
            for (std::int64_t w = 0; w < width; ++w)
                sums[std::size_t(w)] +=
                    weights[std::size_t(s)] / total * v.get((head * slots + s) * width + w);
        }
        y.insert(y.end(), sums.begin(), sums.end());
    }
    return y;
}

void test_heads() {
    for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards}) {
        for (const std::ptrdiff_t group : {0, 1, 2, 3}) {
            const bool one_query = group == 0;
            const std::ptrdiff_t of_heads = 3 * group;
            const std::vector<std::ptrdiff_t> of_query = one_query
                                                             ? std::vector<std::ptrdiff_t>{2, 3, 8}
                                                             : std::vector<std::ptrdiff_t>{2, of_heads, 5, 8};
            const std::vector<std::ptrdiff_t> of_y = one_query
                                                         ? std::vector<std::ptrdiff_t>{2, 3, 6}
                                                         : std::vector<std::ptrdiff_t>{2, of_heads, 5, 6};
            const std::vector<std::ptrdiff_t> of_mask =
                one_query ? std::vector<std::ptrdiff_t>{1, 70} : std::vector<std::ptrdiff_t>{1, 5, 70};
            TestView q(of_query, Element::float64, walk), k({2, 3, 70, 8}, Element::float64, walk);
            TestView v({2, 3, 70, 6}, Element::float64, walk), y(of_y, Element::float64, walk);
            TestView mask(of_mask, Element::float64);
            q.fill(1), k.fill(2), v.fill(3), mask.fill(4);
            const Heads heads{q, k, v, one_query};
            CHECK(heads.lead_axes() == 2 && heads.queries() == (one_query ? 1 : 5) && heads.slots() == 70);
            CHECK(heads.dim() == 8 && heads.width() == 6 && heads.score_axes() == (one_query ? 3 : 4));
            HeadGeometry geometry;
            Attention task;
            geometry.describe(task, heads, {mask, MaskKind::additive});
            CHECK(heads.group() == (one_query ? 1 : group) && task.group == heads.group());
            CHECK(
                task.heads == 6 * task.group && task.mask.lead_stride[0] == 0 && task.mask.lead_stride[1] == 0
            );
            CHECK(task.keys.contiguous == (walk == Walk::c_order || walk == Walk::backwards));
            task.scale = 1;
            task.linear = false;
            task.y = geometry.by_query(y, heads);
            CHECK(
                run(kernels().attention_forward[int(Element::float64)], task,
                    attention_work(task, Element::float64))
            );
            const std::vector<double> expected = plain_attention(heads, q, k, v, mask);
            bool near = expected.size() == std::size_t(y.size());
            for (std::size_t i = 0; near && i < expected.size(); ++i)
                near = std::fabs(y.get(std::int64_t(i)) - expected[i]) < 1e-12;
            CHECK(near);
        }
    }
}

void test_work() {
    Attention task = {};
    task.heads = 12, task.queries = 100, task.slots = 50, task.dim = task.width = 64;
    task.diagonal = task.slots, task.group = 1;
    const Work work = attention_work(task, Element::float32);
    CHECK(work.units == 12 * 4 && work.units_per_chunk == 3);  // tiles of 32 queries, 10 us a chunk
    CHECK(attention_work(task, Element::float64).units == 12 * 7);
    CHECK(work.scratch_bytes == attention_scratch_bytes(64, 64));
    CHECK(attention_stats_bytes(task, Element::float16) == 12 * 100 * 3 * 4);
    CHECK(attention_backward_nanoseconds(task, Element::float32) > 2 * work.nanoseconds);
    task.diagonal = 0;  // the first 50 queries see half of the slots
    CHECK(std::fabs(attention_work(task, Element::float32).nanoseconds / work.nanoseconds - 0.755) < 1e-9);
    task.diagonal = -60;
    CHECK(std::fabs(attention_work(task, Element::float32).nanoseconds / work.nanoseconds - 0.164) < 1e-9);
    task.queries = 1, task.slots = task.diagonal = 10, task.dim = task.width = 8;
    CHECK(attention_work(task, Element::float32).units_per_chunk > 12);  // short reads share a chunk
    task.heads = task.slots = 0;
    CHECK(attention_work(task, Element::float32).units == 0);
}

}  // namespace

int main() {
    for (const std::string& target : available_targets()) {
        set_target(target);
        test_heads();
        test_work();
    }
    return check::report();
}
