// What the tests of the kernels share. Every kernel runs on every target this machine has: results equal to
// the bit over all register widths with FMA, over rows that are contiguous or not, streamed or not; nothing
// read or written outside the arrays (guard pages); every output element written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "runtime/dispatch.h"
#include "targets/kernel_table.h"

FASTNORM_TARGET_TABLE(scalar)

namespace {

using namespace fastnorm;

constexpr Element elements_of_kernels[] = {
    Element::float32, Element::float64, Element::float16, Element::bfloat16
};

enum class Layout { contiguous, neighbouring_rows, spread };

struct Shape {
    std::int64_t rows, cols;
    Element element;
    Layout layout;
    bool at_end;
    bool stream;
};

// The rows of such arrays, packed as plans say: a tile at most.
inline Rows rows_of(
    std::int64_t rows, std::int64_t cols, const std::int64_t& outer, const std::int64_t& inner,
    int outer_axes = 1, int inner_axes = 1
) {
    return {rows, cols, outer_axes, inner_axes, &outer, &inner, std::min<std::int64_t>(rows, tile_rows)};
}
inline Rows rows_of(const Shape& s) { return rows_of(s.rows, s.cols, s.rows, s.cols); }

// An array of the shape with its geometry.
struct TestArray {
    std::int64_t outer_stride, inner_stride;
    Guarded memory;

    TestArray(const Shape& s, std::int64_t size)
        : outer_stride(
              s.layout == Layout::contiguous ? s.cols * size
              : s.layout == Layout::spread   ? (2 * s.cols + 1) * size
                                             : size
          ),
          inner_stride(
              s.layout == Layout::contiguous ? size
              : s.layout == Layout::spread   ? 2 * size
                                             : s.rows * size
          ),
          memory(
              s.rows * s.cols == 0
                  ? 0
                  : std::size_t((s.rows - 1) * outer_stride + (s.cols - 1) * inner_stride + size),
              s.at_end
          ) {}

    Operand operand(const Shape& s) const {
        return {memory.data(), &outer_stride, &inner_stride, s.layout == Layout::contiguous};
    }
    char* at(std::int64_t row, std::int64_t col) const {
        return memory.data() + row * outer_stride + col * inner_stride;
    }
};

inline double value_at(std::int64_t i, int salt) {
    static thread_local std::mt19937_64 engine;
    engine.seed(std::uint64_t(i) * 1000003u + std::uint64_t(salt));
    return std::normal_distribution<double>()(engine);
}

inline void put(Element element, char* target, double value) {
    const float narrow = float(value);
    std::uint32_t bits;
    std::memcpy(&bits, &narrow, 4);
    if (element == Element::float64) {
        std::memcpy(target, &value, 8);
    } else if (element == Element::float32) {
        std::memcpy(target, &narrow, 4);
    } else if (element == Element::bfloat16) {
        const std::uint16_t half = std::uint16_t(bits >> 16);
        std::memcpy(target, &half, 2);
    } else {
        // Values between 2^-14 and 2^15 truncated to eleven bits; others become zero.
        const int exponent = int(bits >> 23 & 0xff) - 112;
        const std::uint16_t magnitude = exponent < 1 || exponent > 30
                                            ? std::uint16_t(0)
                                            : std::uint16_t(exponent << 10 | (bits >> 13 & 0x3ff));
        const std::uint16_t half = std::uint16_t(bits >> 16 & 0x8000) | magnitude;
        std::memcpy(target, &half, 2);
    }
}

inline void fill(const TestArray& array, const Shape& s, int salt) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
        const double offset = value_at(r, salt + 1) * (r % 3 == 0 ? 1000 : 1);
        for (std::int64_t j = 0; j < s.cols; ++j)
            put(s.element, array.at(r, j), value_at(r * s.cols + j, salt) + offset);
    }
}

// Makes all NaNs of the content one: which of two an operation passes on, and with what sign it makes one,
// differs between processors. What nobody has written stays.
template <class Bits>
void make_nans_one(std::string& content, Bits infinity) {
    constexpr Bits unwritten = Bits(~Bits(0)), magnitude = unwritten >> 1;
    for (std::size_t at = 0; at < content.size(); at += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, &content[at], sizeof bits);
        if (bits != unwritten && (bits & magnitude) > infinity)
            std::memcpy(&content[at], &magnitude, sizeof bits);
    }
}
inline void make_nans_one(std::string& content, Element element) {
    switch (element) {
        case Element::float32:
            return make_nans_one<std::uint32_t>(content, 0x7f800000);
        case Element::float64:
            return make_nans_one<std::uint64_t>(content, 0x7ff0000000000000);
        case Element::float16:
            return make_nans_one<std::uint16_t>(content, 0x7c00);
        case Element::bfloat16:
            return make_nans_one<std::uint16_t>(content, 0x7f80);
    }
}

// The elements in C order, whatever the layout.
inline std::string elements(const TestArray& array, const Shape& s) {
    const std::size_t size = std::size_t(item_size(s.element));
    std::string content;
    for (std::int64_t r = 0; r < s.rows; ++r) {
        for (std::int64_t j = 0; j < s.cols; ++j) content.append(array.at(r, j), size);
    }
    make_nans_one(content, s.element);
    return content;
}

inline std::int64_t compute_size(Element element) { return element == Element::float64 ? 8 : 4; }

// Parameters and statistics: `count` values of the compute type in guarded memory.
inline Guarded& fill_parameters(Guarded& memory, Element element, std::int64_t count, int salt) {
    const Element compute = element == Element::float64 ? Element::float64 : Element::float32;
    for (std::int64_t j = 0; j < count; ++j)
        put(compute, memory.data() + j * item_size(compute), 1 + value_at(j, salt));
    return memory;
}

struct Results {
    std::vector<std::string> outputs;
    bool operator==(const Results& other) const { return outputs == other.outputs; }
};

// Whether a target's multiply-adds are rounded once: p - lr g = 2^-24, else 0.
inline bool is_fused(const KernelTable& table) {
    float parameter = -(1 + 0x1p-11f);
    const float gradient = 1 + 0x1p-12f;
    SgdUpdate task = {};
    task.parameter = &parameter;
    task.gradient = &gradient;
    task.lr = -(1 + 0x1p-12);
    table.sgd_update[int(Element::float32)](task, 0, 1, nullptr);
    return parameter != 0;
}

// The tables of the targets that run here: those with fused multiply-add, and the one without, if there is
// one.
struct Targets {
    std::vector<const KernelTable*> fused;
    const KernelTable* plain = nullptr;

    Targets() {
        for (const std::string& name : available_targets()) {
            set_target(name);
            if (is_fused(kernels())) {
                fused.push_back(&kernels());
            } else {
                plain = &kernels();
            }
        }
    }
};

template <class Run>
void compare(const std::vector<const KernelTable*>& fused, const KernelTable* plain, Shape s, Run run) {
    s.layout = Layout::contiguous;
    s.stream = false;
    const Results expected = run(scalar::kernel_table(), s);
    for (const std::string& output : expected.outputs) {
        const std::string unwritten(std::size_t(item_size(s.element)), '\xff');
        if (output.size() >= unwritten.size()) CHECK(output.compare(0, unwritten.size(), unwritten) != 0);
    }
    for (const Layout layout : {Layout::contiguous, Layout::neighbouring_rows, Layout::spread}) {
        s.layout = layout;
        s.stream = layout == Layout::contiguous && s.rows % 2 == 1;
        for (const KernelTable* table : fused) CHECK(run(*table, s) == expected);
        if (plain) run(*plain, s);
    }
}

// Compares run(table, shape) over all targets and layouts, for all element types, without rows and without
// columns, and for sizes around every block boundary.
template <class Run>
void compare_all(Run run) {
    const Targets targets;
    const std::int64_t few[] = {1, 3, 8, 15, 16, 17, 33, 64, 130, 512, 530};
    for (const Element element : elements_of_kernels) {
        for (const bool at_end : {false, true}) {
            for (const std::int64_t rows : {0, 6}) {
                for (const std::int64_t cols : {0, 17}) {
                    if (rows * cols > 0) continue;
                    compare(
                        targets.fused, targets.plain,
                        {rows, cols, element, Layout::contiguous, at_end, false}, run
                    );
                }
            }
        }
        for (const std::int64_t cols : few) {
            for (const std::int64_t rows : {std::int64_t(1), std::int64_t(6), std::int64_t(37)}) {
                if (rows == 37 && cols > 130) continue;
                compare(
                    targets.fused, targets.plain,
                    {rows, cols, element, Layout::contiguous, (rows + cols) % 2 == 0, false}, run
                );
            }
        }
    }
}

}  // namespace
