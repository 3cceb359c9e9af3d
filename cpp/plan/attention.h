// attention and memory_read: arrays as heads of matrices, and tiles over threads.
#pragma once

#include "plan/run.h"
#include "plan/view.h"
#include "tasks/attention.h"

namespace fastnorm {

// What a query sees: all slots; those up to its own number; or those up to the one that is as far from the
// last as it is from the last query.
enum class Causality : int { none, upper_left, lower_right };

// query, keys and values: leading axes, then queries x dim, slots x dim and slots x width. A memory read has
// one query a head, which has no axis of its own.
struct Heads {
    View query, keys, values;
    bool one_query = false;
    Causality causality = Causality::none;

    int lead_axes() const { return keys.ndim - 2; }
    // Heads of queries, one after the other along the last leading axis, that share one of keys and values.
    std::int64_t group() const {
        const int last = lead_axes() - 1;
        if (one_query || last < 0 || query.shape[last] == keys.shape[last]) return 1;
        return query.shape[last] / keys.shape[last];
    }
    std::int64_t queries() const { return one_query ? 1 : query.shape[lead_axes()]; }
    std::int64_t slots() const { return keys.shape[lead_axes()]; }
    std::int64_t dim() const { return keys.shape[lead_axes() + 1]; }
    std::int64_t width() const { return values.shape[lead_axes() + 1]; }
    // Axes that scores have, and a mask at most.
    int score_axes() const { return lead_axes() + (one_query ? 1 : 2); }
};

// A mask that broadcasts to the scores; its view is not read where there is none, and of a boolean one the
// element does not matter.
struct Mask {
    View view;
    MaskKind kind = MaskKind::none;
};

// The matrices of a task, with the storage their strides need.
class HeadGeometry {
public:
    HeadGeometry() = default;
    HeadGeometry(const HeadGeometry&) = delete;
    HeadGeometry& operator=(const HeadGeometry&) = delete;

    // What both directions are given; y and weights are left out.
    void describe(Attention& task, const Heads& heads, const Mask& mask);

    // An array that has a row for each query, as y and dy do, or for each slot, as dkeys and dvalues do.
    HeadMatrix by_query(const View& array, const Heads& heads);
    HeadMatrix by_slot(const View& array, const Heads& heads);

private:
    static constexpr int max_operands = 10;

    std::int64_t* next_lead();
    HeadMatrix matrix(const View& array, const Heads& heads, bool is_by_query);
    HeadMatrix broadcast(const View& mask, const Heads& heads);
    // Where heads are shared, the last leading axis becomes two: the heads of keys, and those of queries that
    // share one.
    static void divide(std::int64_t* lead, const Heads& heads, bool is_by_query);

    int used_ = 0;
    std::int64_t extent_[max_axes];
    std::int64_t strides_[max_operands][max_axes];
};

Work attention_work(const Attention& task, Element element);

// What the statistics of the backward take, and what both its kernels take one thread.
std::int64_t attention_stats_bytes(const Attention& task, Element element);
double attention_backward_nanoseconds(const Attention& task, Element element);

// dquery, dkeys and dvalues. False where there is no memory for scratch.
bool run_attention_backward(const AttentionBackward& task, Element element) noexcept;

}  // namespace fastnorm
