// The kernels of networks of dense layers, as kernels.h tests them: the same bits on all targets and in any
// layout of x.
#include "kernels.h"
#include "tasks/regularisers.h"

namespace {

struct Network {
    std::int64_t in, hidden, out;
    Activation activation;
    std::int64_t dropped = 0;
};

// Forward, and gradients of x and of all parameters, of s.rows rows.
Results run_network(const KernelTable& table, const Shape& s, const Network& n) {
    const std::int64_t size = item_size(s.element), wide = compute_size(s.element);
    const Element compute = s.element == Element::float64 ? Element::float64 : Element::float32;
    const int e = int(s.element);
    Shape rows = s;
    rows.cols = n.in;
    const TestArray x(rows, size);
    fill(x, rows, 1);
    const std::int64_t sizes[] = {n.in, n.hidden, n.out};
    std::vector<std::string> weights, panels, transposed, biases;
    std::vector<MlpLayer> layers;
    std::int64_t partial = 0, widest = mlp_step(n.in, wide);
    for (int l = 0; l < 2; ++l) {
        const std::int64_t in = sizes[l], out = sizes[l + 1];
        weights.emplace_back(std::size_t(in * out * size), '\0');
        for (std::int64_t i = 0; i < in * out; ++i)
            put(s.element, weights.back().data() + i * size, 0.3 * value_at(i, 7 + l));
        panels.emplace_back(std::size_t(in * padded_cols(out, wide) * wide), '\xff');
        transposed.emplace_back(std::size_t(out * padded_cols(in, wide) * wide), '\xff');
        biases.emplace_back(std::size_t(padded_cols(out, wide) * wide), '\0');
        for (std::int64_t j = 0; j < out; ++j)
            put(compute, biases.back().data() + j * wide, value_at(j, 9 + l));
        MlpLayer layer = {};
        layer.in = in;
        layer.out = out;
        layer.activation = l == 0 ? n.activation : Activation::none;
        layer.dweight = partial;
        partial += mlp_is_narrow(in, out, wide) ? out * padded_cols(in, wide) : in * padded_cols(out, wide);
        layer.dbias = partial;
        partial += padded_cols(out, wide);
        widest = std::max(widest, mlp_step(out, wide));
        layers.push_back(layer);
    }
    for (int l = 0; l < 2; ++l) {
        const std::int64_t in = sizes[l], out = sizes[l + 1];
        const WeightPanels pack{in,         out,  weights[std::size_t(l)].data(),
                                out * size, size, panels[std::size_t(l)].data()};
        table.pack_weight[e](pack, 0, (in + depth_block - 1) / depth_block, nullptr);
        const WeightPanels turn{out,  in,         weights[std::size_t(l)].data(),
                                size, out * size, transposed[std::size_t(l)].data()};
        table.pack_weight[e](turn, 0, (out + depth_block - 1) / depth_block, nullptr);
        layers[std::size_t(l)].weight = panels[std::size_t(l)].data();
        layers[std::size_t(l)].transposed = transposed[std::size_t(l)].data();
        layers[std::size_t(l)].bias = biases[std::size_t(l)].data();
    }
    MlpRows task = {};
    task.layers = layers.data();
    task.count = 2;
    task.rows = s.rows;
    task.group_rows = mlp_group_rows(s.rows);
    task.widest = widest;
    task.seed = 99;
    task.dropped = n.dropped;
    task.dropout_scale = double(dropout_levels) / double(dropout_levels - n.dropped);
    const Operand operand = x.operand(rows);
    task.x = operand.data;
    task.x_row_stride = x.outer_stride;
    task.x_col_stride = x.inner_stride;
    const std::int64_t groups = (s.rows + task.group_rows - 1) / task.group_rows;
    const std::int64_t blocks = (s.rows + mlp_block_rows - 1) / mlp_block_rows;
    Guarded y(std::size_t(s.rows * n.out * size), s.at_end), dx(std::size_t(s.rows * n.in * size), true);
    Guarded dy(std::size_t(s.rows * n.out * size), true);
    for (std::int64_t i = 0; i < s.rows * n.out; ++i) put(s.element, dy.data() + i * size, value_at(i, 12));
    Guarded scratch(std::size_t(mlp_scratch_elements(task, wide, true) * wide), true);
    Guarded partials(std::size_t(groups * partial * wide), true);
    task.y = y.data();
    table.mlp_forward[e](task, 0, blocks, scratch.data());
    task.dy = dy.data();
    task.dy_row_stride = n.out * size;
    task.dy_col_stride = size;
    task.dx = dx.data();
    task.partials = partials.data();
    task.partial_elements = partial;
    task.y = nullptr;
    task.keeps = true;
    for (std::int64_t block = 0; block < blocks; ++block) {
        table.mlp_forward[e](task, block, block + 1, scratch.data());
        table.mlp_backward[e](task, block, block + 1, scratch.data());
    }
    Results results{{y.content(), dx.content()}};
    for (const MlpLayer& layer : layers) {
        const bool narrow = mlp_is_narrow(layer.in, layer.out, wide);
        Guarded dweight(std::size_t(layer.in * layer.out * wide), true),
            dbias(std::size_t(layer.out * wide), true);
        const std::int64_t l = &layer - layers.data();
        const std::int64_t unit_rows = mlp_merge_rows(layer.out),
                           units = (layer.in + unit_rows - 1) / unit_rows;
        Guarded squares(std::size_t(units) * sizeof(double), true);
        MlpMerge merge = {};
        merge.partials = partials.data() + layer.dweight * wide;
        merge.groups = groups;
        merge.partial_elements = partial;
        merge.rows = layer.in;
        merge.cols = layer.out;
        merge.unit_rows = unit_rows;
        merge.row_step = narrow ? 1 : padded_cols(layer.out, wide);
        merge.col_step = narrow ? padded_cols(layer.in, wide) : 1;
        merge.penalty = 0.25;
        merge.parameter = weights[std::size_t(l)].data();
        // The second layer's as if it were transposed: its elements are gathered.
        merge.row_stride = l == 0 ? layer.out * size : size;
        merge.col_stride = l == 0 ? size : layer.in * size;
        merge.squares = reinterpret_cast<double*>(squares.data());
        merge.gradient = dweight.data();
        table.mlp_merge[e](merge, 0, units, nullptr);
        merge.partials = partials.data() + layer.dbias * wide;
        merge.rows = merge.row_step = merge.col_step = 1;
        merge.squares = nullptr;
        merge.gradient = dbias.data();
        table.mlp_merge[e](merge, 0, 1, nullptr);
        results.outputs.push_back(dweight.content());
        results.outputs.push_back(squares.content());
        results.outputs.push_back(dbias.content());
    }
    return results;
}

}  // namespace

int main() {
    const Targets targets;
#define FASTNORM_NETWORK(name, is_gate) {20, 64, 17, Activation::name},
    const Network networks[] = {
        FASTNORM_LAYER_ACTIVATIONS(FASTNORM_NETWORK){3, 4, 1, Activation::relu},
        {16, 33, 5, Activation::gelu},
        {7, 130, 2, Activation::tanh},
        {65, 9, 1, Activation::sigmoid},
        {5, 70, 3, Activation::gelu_tanh},
        {32, 512, 1, Activation::relu},
        {300, 20, 3, Activation::relu},
        {0, 40, 3, Activation::relu},
        {20, 0, 3, Activation::relu},
        {20, 40, 0, Activation::relu},
        {20, 64, 3, Activation::relu, 16384},
        {9, 33, 5, Activation::gelu, 20000},
        {32, 512, 1, Activation::relu, 32768},
        {20, 0, 3, Activation::tanh, 256},
    };
#undef FASTNORM_NETWORK
    int number = 0;
    for (const Network& n : networks) {
        for (const Element element :
             {Element::float32, Element::float64, Element::float16, Element::bfloat16}) {
            const std::int64_t rows = number++ % 3 == 0 ? 5 : number % 3 == 1 ? 49 : 101;
            compare(
                targets.fused, targets.plain,
                {rows, n.in, element, Layout::contiguous, number % 2 == 0, false},
                [&](auto& table, auto& s) { return run_network(table, s, n); }
            );
        }
    }
    return check::report();
}
