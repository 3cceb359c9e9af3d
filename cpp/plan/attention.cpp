#include "plan/attention.h"

#include <algorithm>

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a score: an exponential, and a multiply-add for each column of the keys and of the
// values; measured in cache, float32.
constexpr double score_nanoseconds = 0.4;
constexpr double column_nanoseconds = 0.013;
// Tiles are shared out in chunks of about this.
constexpr double chunk_nanoseconds = 10000;

// The share of its slots that a query sees on average.
double seen_share(const Attention& task) {
    const double queries = double(task.queries), slots = double(task.slots), diagonal = double(task.diagonal);
    if (queries * slots == 0) return 1;
    const double none = std::clamp(-diagonal, 0.0, queries);  // those that see none, and where all is seen
    const double all = std::clamp(slots - 1 - diagonal, none, queries);
    const double some = (all - none) * ((none + all + 1) / 2 + diagonal);
    return (some + (queries - all) * slots) / (queries * slots);
}

// Tiles of `rows` queries or slots; each score takes `products` times what it does in the forward. `is_one`
// where a single query has a kernel of its own.
Work tile_work(const Attention& task, Element element, std::int64_t rows, double products, bool is_one) {
    const std::int64_t units = task.heads * tiles_of(rows, attention_tile(element));
    // A tile costs the same however few of its lanes hold rows; one of half the lanes is the smallest. A
    // single query costs about as much as six.
    const double lanes = is_one ? 6 : std::max(double(rows), double(attention_tile(element)) / 2);
    const double scores = lanes * double(task.queries * task.slots) * seen_share(task) /
                          double(std::max<std::int64_t>(rows, 1));
    const double cost = products * (score_nanoseconds + column_nanoseconds * double(task.dim + task.width));
    const double nanoseconds = double(task.heads) * scores * cost * (element == Element::float64 ? 2 : 1);
    const double unit = nanoseconds / double(std::max<std::int64_t>(units, 1));
    const std::int64_t chunk =
        std::max<std::int64_t>(1, std::int64_t(chunk_nanoseconds / std::max(unit, 1.0)));
    return {units, chunk, nanoseconds, attention_scratch_bytes(task.dim, task.width)};
}

}  // namespace

std::int64_t* HeadGeometry::next_lead() { return strides_[used_++]; }

void HeadGeometry::divide(std::int64_t* lead, const Heads& heads, bool is_by_query) {
    const std::int64_t group = heads.group();
    if (group == 1) return;
    std::int64_t* const last = lead + heads.lead_axes() - 1;
    last[1] = is_by_query ? last[0] : 0;
    if (is_by_query) last[0] *= group;
}

HeadMatrix HeadGeometry::matrix(const View& array, const Heads& heads, bool is_by_query) {
    const bool has_rows = !is_by_query || !heads.one_query;
    const int lead_axes = heads.lead_axes();
    const std::int64_t size = item_size(array.element);
    std::int64_t* lead = next_lead();
    const int last = array.ndim - 1;
    HeadMatrix matrix{array.data, lead, has_rows ? array.strides[last - 1] : 0, array.strides[last], false};
    std::uintptr_t places = reinterpret_cast<std::uintptr_t>(matrix.data) | std::uintptr_t(matrix.row_stride);
    for (int i = 0; i < lead_axes; ++i) places |= std::uintptr_t(lead[i] = array.strides[i]);
    const bool neighbours = matrix.col_stride == size || array.shape[last] <= 1;
    matrix.contiguous = neighbours && are_multiples(places, size);
    divide(lead, heads, is_by_query);
    return matrix;
}

HeadMatrix HeadGeometry::by_query(const View& array, const Heads& heads) {
    return matrix(array, heads, true);
}

HeadMatrix HeadGeometry::by_slot(const View& array, const Heads& heads) {
    return matrix(array, heads, false);
}

// A mask broadcasts against the leading axes, the queries and the slots: axes of length 1 are not stepped
// along.
HeadMatrix HeadGeometry::broadcast(const View& mask, const Heads& heads) {
    std::int64_t* lead = next_lead();
    const int axes = heads.score_axes(), missing = axes - mask.ndim;
    const auto stride = [&](int axis) -> std::int64_t {
        return axis < missing || mask.shape[axis - missing] == 1 ? 0 : mask.strides[axis - missing];
    };
    for (int i = 0; i < heads.lead_axes(); ++i) lead[i] = stride(i);
    divide(lead, heads, true);
    return {mask.data, lead, heads.one_query ? 0 : stride(axes - 2), stride(axes - 1), false};
}

void HeadGeometry::describe(Attention& task, const Heads& heads, const Mask& mask) {
    const int lead = heads.lead_axes();
    task.heads = 1;
    for (int i = 0; i < lead; ++i) task.heads *= extent_[i] = heads.keys.shape[i];
    task.group = heads.group();
    task.lead_axes = lead;
    if (task.group > 1) {
        extent_[task.lead_axes++] = task.group;
        task.heads *= task.group;
    }
    task.lead_extent = extent_;
    task.queries = heads.queries();
    task.slots = heads.slots();
    task.dim = heads.dim();
    task.width = heads.width();
    task.query = by_query(heads.query, heads);
    task.keys = by_slot(heads.keys, heads);
    task.values = by_slot(heads.values, heads);
    task.mask_kind = mask.kind;
    task.mask = mask.kind == MaskKind::none ? HeadMatrix{} : broadcast(mask.view, heads);
    task.y = task.weights = HeadMatrix{};
    task.diagonal = heads.causality == Causality::none         ? task.slots
                    : heads.causality == Causality::upper_left ? 0
                                                               : task.slots - task.queries;
}

Work attention_work(const Attention& task, Element element) {
    if (task.width == 0 && !task.weights.data) return {};  // nothing to write
    return tile_work(task, element, task.queries, 1, task.queries == 1);
}

namespace {

// The products of the backward as multiples of a forward's, with what goes with them: of both kernels by
// tile, and of the one by head.
constexpr double query_products = 1.8, key_products = 2, head_products = 2.8;

Work with_scratch(Work work, std::int64_t bytes) {
    work.scratch_bytes = bytes;
    return work;
}

Work query_work(const Attention& task, Element element) {
    return with_scratch(
        tile_work(task, element, task.queries, query_products, task.has_one_query()),
        attention_tile_scratch_bytes(task)
    );
}

// The first kernel has done all for a single query.
Work key_work(const Attention& task, Element element) {
    if (task.has_one_query()) return {};
    Work work = tile_work(task, element, task.slots, key_products, false);
    work.units /= task.group;
    work.units_per_chunk = std::max<std::int64_t>(1, work.units_per_chunk / task.group);
    return with_scratch(work, attention_tile_scratch_bytes(task));
}

Work head_work(const Attention& task, Element element) {
    Work work = tile_work(task, element, task.queries, head_products, false);
    work.units = task.heads / task.group;
    work.units_per_chunk = std::max<std::int64_t>(
        1, std::int64_t(chunk_nanoseconds * double(work.units) / std::max(work.nanoseconds, 1.0))
    );
    const std::int64_t size = item_size(compute_element(element));
    return with_scratch(work, attention_head_scratch_bytes(task, size));
}

// Whether the backward goes by head: where there are heads enough for the threads to be done sooner than by
// tile.
bool goes_by_head(const Attention& task, Element element) {
    if (task.has_one_query() || task.slots > attention_kept_slots) return false;
    const Work work = head_work(task, element);
    const std::int64_t threads = threads_for(work);
    const std::int64_t units = task.heads / task.group, turns = (units + threads - 1) / threads;
    return double(turns * threads) * head_products <= double(units) * (query_products + key_products);
}

}  // namespace

double attention_backward_nanoseconds(const Attention& task, Element element) {
    if (goes_by_head(task, element)) return head_work(task, element).nanoseconds;
    return query_work(task, element).nanoseconds + key_work(task, element).nanoseconds;
}

std::int64_t attention_stats_bytes(const Attention& task, Element element) {
    return task.heads * task.queries * attention_stats * item_size(compute_element(element));
}

bool run_attention_backward(const AttentionBackward& task, Element element) noexcept {
    const Attention& forward = task.forward;
    if (goes_by_head(forward, element))
        return run(kernels().attention_backward_heads[int(element)], task, head_work(forward, element));
    return run(kernels().attention_backward_query[int(element)], task, query_work(forward, element)) &&
           run(kernels().attention_backward_keys[int(element)], task, key_work(forward, element));
}

}  // namespace fastnorm
