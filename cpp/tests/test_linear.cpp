// The product of matrices, as kernels.h tests kernels: equal to the bit over targets, layouts and divisions.
#include <iterator>

#include "kernels.h"

namespace {

struct ProductShape {
    std::int64_t rows, depth, cols;
};

// What may differ without a bit of the result changing.
struct Setting {
    Layout a, b, c;
    int threads;
    std::int64_t l2;
};

struct TestMatrix {
    Shape shape;
    TestArray array;
    std::int64_t extent[2];

    TestMatrix(std::int64_t rows, std::int64_t cols, Element element, Layout layout, bool at_end)
        : shape{rows, cols, element, layout, at_end, false},
          array(shape, item_size(element)),
          extent{rows, cols} {}
    Matrix matrix(bool wide) const {
        return {
            array.memory.data(),
            {1, extent, &array.outer_stride},
            {1, extent + 1, &array.inner_stride},
            wide,
            true
        };
    }
};

void fill_matrix(const TestMatrix& m, int salt) {
    for (std::int64_t i = 0; i < m.shape.rows; ++i) {
        for (std::int64_t j = 0; j < m.shape.cols; ++j)
            put(m.shape.element, m.array.at(i, j), value_at(i * m.shape.cols + j, salt));
    }
}

std::string run_product(
    const KernelTable& table, ProductShape s, Element element, Activation activation, Finish finish,
    const Setting& setting
) {
    const Element compute = element == Element::float64 ? Element::float64 : Element::float32;
    const bool wide = element == compute, at_end = (s.rows + s.cols) % 2 == 0;
    TestMatrix a(s.rows, s.depth, element, setting.a, at_end), b(s.depth, s.cols, element, setting.b, at_end);
    TestMatrix c(s.rows, s.cols, element, setting.c, at_end), dy(s.rows, s.cols, element, setting.b, at_end);
    fill_matrix(a, 1);
    fill_matrix(b, 2);
    fill_matrix(dy, 3);
    Guarded bias(std::size_t(s.cols * item_size(compute)), at_end);
    fill_parameters(bias, element, s.cols, 4);
    Product task = {};
    task.rows = s.rows, task.cols = s.cols, task.depth = s.depth;
    task.a = a.matrix(wide), task.b = b.matrix(wide), task.c = c.matrix(wide), task.other = dy.matrix(wide);
    task.col_bias = s.depth % 2 == 0 ? bias.data() : nullptr;
    task.activation = activation;
    task.beta = 0.7;
    task.finish = finish;
    divide(task, item_size(element), item_size(compute), setting.threads, setting.l2);
    Guarded scratch(std::size_t(product_scratch(task, item_size(compute)) + 63) / 64 * 64, true);
    for (std::int64_t unit = product_units(task); unit-- > 0;) {
        table.matrix_product[int(element)](task, unit, unit + 1, scratch.data());
    }
    const std::string result = elements(c.array, c.shape);
    if (result.empty()) return result;
    CHECK(
        result.compare(
            0, std::size_t(item_size(element)), std::string(8, '\xff'), 0, std::size_t(item_size(element))
        ) != 0
    );
    return result;
}

// The same of float32 or float64 without a bias, in one call or in one for each block of terms.
std::string run_blocks(
    const KernelTable& table, ProductShape s, Element element, const Setting& setting, bool apart
) {
    const std::int64_t size = item_size(element), step = apart ? depth_block : s.depth;
    TestMatrix a(s.rows, s.depth, element, setting.a, false), b(s.depth, s.cols, element, setting.b, false);
    TestMatrix c(s.rows, s.cols, element, Layout::contiguous, false);
    fill_matrix(a, 1);
    fill_matrix(b, 2);
    for (std::int64_t k = 0; k < s.depth; k += step) {
        Product task = {};
        task.rows = s.rows, task.cols = s.cols, task.depth = std::min(step, s.depth - k);
        task.a = a.matrix(true), task.b = b.matrix(true), task.c = c.matrix(true);
        task.a.data += k * a.array.inner_stride;
        task.b.data += k * b.array.outer_stride;
        task.accumulates = k > 0;
        divide(task, size, size, setting.threads, setting.l2);
        Guarded scratch(std::size_t(product_scratch(task, size) + 63) / 64 * 64, true);
        table.matrix_product[int(element)](task, 0, product_units(task), scratch.data());
    }
    return elements(c.array, c.shape);
}

// In one call, or with the first rows in a call of their own.
std::string run_sums(
    const KernelTable& table, std::int64_t rows, std::int64_t cols, Element element, Layout layout,
    std::int64_t first = 0
) {
    const Element compute = element == Element::float64 ? Element::float64 : Element::float32;
    TestMatrix m(rows, cols, element, layout, cols % 2 == 0);
    fill_matrix(m, 5);
    Guarded sums(std::size_t(cols * item_size(compute)), rows % 2 == 0);
    ColumnSums task{rows, cols, m.matrix(element == compute), sums.data(), nullptr};
    std::vector<double> totals(std::size_t(cols), 0);
    if (first > 0) {
        task.totals = totals.data();
        task.rows = first;
        table.column_sums[int(element)](task, 0, cols, nullptr);
        task.rows = rows - first;
        task.matrix.data += first * m.array.outer_stride;
    }
    table.column_sums[int(element)](task, 0, cols, nullptr);
    return sums.content();
}

}  // namespace

int main() {
    const Targets targets;
    const std::vector<const KernelTable*>& tables = targets.fused;
    const KernelTable* const plain = targets.plain;
    const Layout rows_first = Layout::contiguous, cols_first = Layout::neighbouring_rows,
                 apart = Layout::spread;
    const Setting settings[] = {
        {rows_first, rows_first, rows_first, 1, 1 << 20}, {cols_first, rows_first, rows_first, 3, 1 << 18},
        {rows_first, cols_first, cols_first, 2, 1 << 16}, {apart, apart, apart, 1, 1 << 20},
        {rows_first, rows_first, rows_first, 1, 1 << 24}, {apart, cols_first, rows_first, 1, 1 << 18},
    };
    const ProductShape shapes[] = {{1, 1, 1},     {5, 3, 4},     {1, 64, 64},    {13, 7, 33},   {14, 16, 32},
                                   {31, 257, 65}, {40, 30, 1},   {70, 200, 3},   {64, 64, 64},  {6, 513, 16},
                                   {45, 2, 140},  {1, 0, 1},     {70, 0, 65},    {1, 530, 150}, {1, 512, 40},
                                   {7, 512, 35},  {1, 17, 2120}, {11, 300, 150}, {1, 2050, 53}, {1, 790, 70},
                                   {1, 1030, 16}};
#define FASTNORM_ACTIVATION(name, is_gate) Activation::name,
    const Activation activations[] = {
        Activation::none, Activation::swish, FASTNORM_LAYER_ACTIVATIONS(FASTNORM_ACTIVATION)
    };
#undef FASTNORM_ACTIVATION
    int turn = 0;
    for (const Element element : elements_of_kernels) {
        for (const ProductShape& shape : shapes) {
            const Activation activation = activations[std::size_t(turn++) % std::size(activations)];
            for (const Finish finish : {Finish::activate, Finish::multiply, Finish::gradient, Finish::add}) {
                const std::string expected =
                    run_product(scalar::kernel_table(), shape, element, activation, finish, settings[0]);
                for (const Setting& setting : settings) {
                    for (const KernelTable* table : tables)
                        CHECK(run_product(*table, shape, element, activation, finish, setting) == expected);
                    if (plain) run_product(*plain, shape, element, activation, finish, setting);
                }
            }
        }
        for (const ProductShape& shape : {ProductShape{31, 257, 65}, {6, 513, 16}, {40, 600, 3}}) {
            if (element != Element::float32 && element != Element::float64) continue;
            for (const Setting& setting : settings) {
                for (const KernelTable* table : tables) {
                    CHECK(
                        run_blocks(*table, shape, element, setting, true) ==
                        run_blocks(*table, shape, element, setting, false)
                    );
                }
            }
        }
        for (const std::int64_t rows : {0, 1, 32, 100}) {
            const std::string expected = run_sums(scalar::kernel_table(), rows, 70, element, rows_first);
            for (const Layout layout : {rows_first, cols_first, apart}) {
                for (const KernelTable* table : tables)
                    CHECK(run_sums(*table, rows, 70, element, layout) == expected);
                if (rows > 32) CHECK(run_sums(*tables[0], rows, 70, element, layout, 32) == expected);
                if (plain) run_sums(*plain, rows, 70, element, layout);
            }
        }
    }
    return check::report();
}
