// The kernels of attention, as kernels.h tests them: rows of s.rows queries and s.cols columns.
#include "kernels.h"

namespace {

// Two heads, or two groups of heads, one behind the other, of an array of `rows` x `cols` each.
struct TestHeads {
    Shape shape;
    TestArray array;
    std::int64_t lead_stride[2];  // of the groups, and in one

    TestHeads(Shape s, std::int64_t rows, std::int64_t cols, int salt, std::int64_t group = 1)
        : shape{2 * group * rows, cols, s.element, s.layout, s.at_end, false},
          array(shape, item_size(s.element)),
          lead_stride{group * rows * array.outer_stride, group == 1 ? 0 : rows * array.outer_stride} {
        if (salt > 0) fill(array, shape, salt);
    }
    HeadMatrix matrix() const {
        return {
            array.memory.data(), lead_stride, array.outer_stride, array.inner_stride,
            shape.layout == Layout::contiguous || shape.cols == 1
        };
    }
    std::string content() const { return elements(array, shape); }
};

Results run_attention(
    const KernelTable& table, const Shape& s, MaskKind kind, bool linear, std::int64_t slots,
    std::int64_t width, std::int64_t hidden = -1,  // slots from the last query; none are where it is negative
    std::int64_t group = 1, double softcap = 0, std::int64_t dropped = 0
) {
    const int e = int(s.element);
    const std::int64_t dim = s.cols, shared = 2, heads = shared * group, extent[] = {shared, group};
    TestHeads query(s, s.rows, dim, 1, group), keys(s, slots, dim, 2), values(s, slots, width, 3),
        dy(s, s.rows, width, 4, group);
    TestHeads y(s, s.rows, width, 0, group), weights(s, s.rows, slots, 0, group);
    TestHeads dquery(s, s.rows, dim, 0, group), dkeys(s, slots, dim, 0), dvalues(s, slots, width, 0);

    // A mask that is the same for all queries where it is additive, and for all heads.
    const std::int64_t zero[] = {0, 0}, size = kind == MaskKind::boolean ? 1 : compute_size(s.element);
    const std::int64_t mask_rows = kind == MaskKind::boolean ? s.rows : 1;
    Guarded mask(std::size_t(mask_rows * slots * size), s.at_end);
    for (std::int64_t i = 0; i < mask_rows * slots; ++i) {
        const double value = value_at(i, 5);
        if (kind == MaskKind::boolean) {
            mask.data()[i] = value < 0.5;
        } else {
            const Element compute = s.element == Element::float64 ? Element::float64 : Element::float32;
            put(compute, mask.data() + i * size, value < 0.5 ? value : -HUGE_VAL);
        }
    }
    Attention extents = {};
    extents.slots = slots, extents.dim = dim, extents.width = width;
    const std::int64_t head_bytes = attention_head_scratch_bytes(extents, compute_size(s.element));
    const std::int64_t scratch_bytes = std::max(attention_tile_scratch_bytes(extents), head_bytes);
    // A sum's place before the first would lie before the scratch.
    const bool is_empty = s.rows * slots * dim * width == 0;
    Guarded scratch(std::size_t((scratch_bytes + 63) / 64 * 64), !is_empty || s.at_end);
    const HeadMatrix mask_matrix{mask.data(), zero, mask_rows > 1 ? slots * size : 0, size, false};
    Attention forward{
        group == 1 ? 1 : 2,
        extent,
        heads,
        s.rows,
        slots,
        dim,
        width,
        query.matrix(),
        keys.matrix(),
        values.matrix(),
        mask_matrix,
        y.matrix(),
        weights.matrix(),
        kind,
        0.125,
        linear,
        hidden < 0 ? slots : slots - s.rows - hidden,
        group,
        softcap,
        12345,
        dropped,
        double(dropout_levels) / double(dropout_levels - dropped)
    };
    const std::int64_t tile = attention_tile(s.element);
    const std::int64_t units = heads * tiles_of(s.rows, tile);
    table.attention_forward[e](forward, 0, units, scratch.data());
    Results results;
    results.outputs = {y.content(), weights.content()};

    Guarded stats(std::size_t(heads * s.rows * attention_stats * compute_size(s.element)), s.at_end);
    const AttentionBackward backward{forward,        dy.matrix(),      dquery.matrix(),
                                     dkeys.matrix(), dvalues.matrix(), stats.data()};
    table.attention_backward_query[e](backward, 0, units, scratch.data());
    table.attention_backward_keys[e](backward, 0, shared * tiles_of(slots, tile), scratch.data());
    for (const TestHeads* gradient : {&dquery, &dkeys, &dvalues})
        results.outputs.push_back(gradient->content());

    // By head: the same bits.
    TestHeads head_dquery(s, s.rows, dim, 0, group), head_dkeys(s, slots, dim, 0),
        head_dvalues(s, slots, width, 0);
    AttentionBackward by_head = backward;
    by_head.dquery = head_dquery.matrix();
    by_head.dkeys = head_dkeys.matrix(), by_head.dvalues = head_dvalues.matrix();
    table.attention_backward_heads[e](by_head, 0, shared, scratch.data());
    CHECK(head_dquery.content() == results.outputs[2]);
    CHECK(head_dkeys.content() == results.outputs[3]);
    CHECK(head_dvalues.content() == results.outputs[4]);

    // Each query by itself, which other kernels may do: the same bits.
    // But for what is dropped.
    if (s.layout == Layout::contiguous && kind != MaskKind::boolean && hidden < 0 && dropped == 0) {
        TestHeads alone(s, s.rows, width, 0, group);
        Attention one = forward;
        one.queries = 1;
        one.weights = {};
        for (std::int64_t i = 0; i < s.rows; ++i) {
            one.query.data = forward.query.data + i * forward.query.row_stride;
            one.y.data = alone.array.memory.data() + i * alone.array.outer_stride;
            table.attention_forward[e](one, 0, heads, scratch.data());
        }
        CHECK(alone.content() == results.outputs[0]);
    }
    return results;
}

// Every extent 0 beside every other that is not: of what is not empty each element is still written.
void test_empty() {
    const Targets targets;
    for (const Element element : elements_of_kernels) {
        for (const std::int64_t number : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) {
            const auto extent = [&](int axis, std::int64_t full) { return number >> axis & 1 ? full : 0; };
            for (const std::int64_t queries : {1, 5}) {
                for (const bool linear : {false, true}) {
                    const MaskKind kind = linear ? MaskKind::none : MaskKind(number % 3);
                    const Shape s{extent(0, queries),        extent(1, 20), element, Layout::contiguous,
                                  queries + number % 2 == 1, false};
                    compare(
                        targets.fused, targets.plain, s, [&](const KernelTable& table, const Shape& shape) {
                            return run_attention(
                                table, shape, kind, linear, extent(2, 70), extent(3, 3), -1, 1,
                                number % 5 == 0 ? 2 : 0, number % 3 == 1 ? 4096 : 0
                            );
                        }
                    );
                }
            }
        }
    }
}

// Both ways of the backward, which run_attention compares, around the boundaries of tiles, blocks and groups
// of slots, with more slots than are kept, and with heads that share their keys.
void test_ways() {
    const Targets targets;
    const auto run = [&](Shape s, std::int64_t slots, std::int64_t width, std::int64_t number,
                         std::int64_t hidden = -1, std::int64_t group = 1) {
        const MaskKind kind = MaskKind(number % 3);
        const bool linear = number % 4 == 3;
        const double softcap = number % 5 == 2 ? 0.375 : 0;
        const std::int64_t dropped = number % 7 == 3 ? 16384 : number % 7 == 5 ? 20000 : 0;
        s.layout = number % 5 == 4 ? Layout::spread : Layout::contiguous;
        Results first;
        for (const KernelTable* table : targets.fused) {
            const Results results =
                run_attention(*table, s, kind, linear, slots, width, hidden, group, softcap, dropped);
            if (first.outputs.empty()) first = results;
            CHECK(results == first);
        }
        if (targets.plain)
            run_attention(*targets.plain, s, kind, linear, slots, width, hidden, group, softcap, dropped);
    };
    std::int64_t number = 0;
    for (const Element element : elements_of_kernels) {
        for (const std::int64_t queries : {2, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 97, 129}) {
            for (const std::int64_t slots : {1, 7, 8, 9, 63, 64, 65, 129}) {
                const std::int64_t dim = number % 7 == 0 ? 32 : number % 7 == 1 ? 5 : 19, width = 35 - dim;
                run({queries, dim, element, Layout::contiguous, number % 2 == 0, false}, slots, width,
                    number);
                // Queries that see the slots before them, from the first, from the last, and some that see
                // none.
                const std::int64_t distance = number % 3 == 0   ? std::max<std::int64_t>(slots - queries, 0)
                                              : number % 3 == 1 ? 0
                                                                : 5;
                if (number % 2 == 0)
                    run({queries, dim, element, Layout::contiguous, number % 2 == 0, false}, slots, width,
                        number, distance);
                // Two and three heads that share their keys.
                if (number % 3 == 0)
                    run({queries, dim, element, Layout::contiguous, number % 2 == 0, false}, slots, width,
                        number / 3, number % 2 == 0 ? distance : -1, 2 + number / 3 % 2);
                ++number;
            }
        }
    }
    const std::int64_t many = attention_kept_slots + 3;
    for (const std::int64_t i : {0, 1, 2})
        run({70, 3, Element::float32, Layout::contiguous, true, false}, many, 2, i, -1, 1 + i);
    // A single query for each head of a group, which has no kernel of its own.
    for (const std::int64_t i : {0, 1, 2, 3, 4})
        run({1, 19, Element::float16, Layout::contiguous, true, false}, 70, 20, i, i % 2 * 3 - 1, 2 + i % 2);
}

}  // namespace

int main() {
    compare_all([&](const KernelTable& table, const Shape& s) {
        const MaskKind kind = s.cols % 3 == 0   ? MaskKind::none
                              : s.cols % 3 == 1 ? MaskKind::boolean
                                                : MaskKind::additive;
        return run_attention(
            table, s, kind, s.cols == 17 || s.cols == 15, s.rows == 6 ? 150 : s.cols % 30 + 1,
            s.cols > 64 ? 5 : s.cols + 3, -1, 1, s.cols % 4 == 3 ? 0.25 : 0, s.cols % 5 == 3 ? 1000 : 0
        );
    });
    test_empty();
    test_ways();
    return check::report();
}
