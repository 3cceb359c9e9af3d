// The loop over rows of softmax and log_softmax.
#pragma once

#include "kernels/loops/beside.h"
#include "kernels/loops/exponential_rows.h"
#include "kernels/loops/row_tile.h"
#include "tasks/softmax.h"

FASTNORM_TARGET_BEGIN

// Where a row lies, and its exponentials. Of a backward, x is y where it starts from that, and y is dx.
template <class T>
struct RowPlace {
    const T* dy;
    const T* x;
    T* y;
    compute_t<T>* e;
};

// The rows of a task, packed tile by tile where they are not contiguous.
template <class T, class Task>
class TaskRows;
template <class T>
class TaskRows<T, SoftmaxForward> {
public:
    const bool packed;

    FASTNORM_INLINE TaskRows(const SoftmaxForward& task, char*& space)
        : packed(!(task.x.contiguous && task.y.contiguous)),
          x_(task.shape, task.x, space),
          y_(task.shape, task.y, space) {}

    FASTNORM_INLINE void fetch(std::int64_t first, int count) {
        x_.fetch(first, count);
        y_.select(first);
    }
    FASTNORM_INLINE RowPlace<T> at(int i, compute_t<T>* e) const {
        return {nullptr, x_.row(i), y_.row(i), e};
    }
    FASTNORM_INLINE void write_back(std::int64_t first, int count) { y_.write_back(first, count); }

private:
    RowTile<T> x_, y_;
};
template <class T>
class TaskRows<T, SoftmaxBackward> {
public:
    const bool packed;

    FASTNORM_INLINE TaskRows(const SoftmaxBackward& task, char*& space)
        : packed(!(task.dy.contiguous && task.x.contiguous && task.dx.contiguous)),
          dy_(task.shape, task.dy, space),
          x_(task.shape, task.x, space),
          dx_(task.shape, task.dx, space) {}

    FASTNORM_INLINE void fetch(std::int64_t first, int count) {
        dy_.fetch(first, count);
        x_.fetch(first, count);
        dx_.select(first);
    }
    FASTNORM_INLINE RowPlace<T> at(int i, compute_t<T>* e) const {
        return {dy_.row(i), x_.row(i), dx_.row(i), e};
    }
    FASTNORM_INLINE void write_back(std::int64_t first, int count) { dx_.write_back(first, count); }

private:
    RowTile<T> dy_, x_, dx_;
};

struct NothingLeft {
    template <class Known, class T>
    FASTNORM_INLINE void operator()(const Known&, const RowPlace<T>&) const {}
};

// Rows [begin, end) of a task: of each, measure(row, beside) returns what is known of it, having done
// `beside` meanwhile; writer(known, row) is the row as it is to be written, and finish(known, row) does what
// is left then. What is known depends on a chain of 50 to 130 cycles at the end of a row, which is not worth
// a third row: written two rows later, 512 x 768 takes 0 to 4 % less of the forwards and 5 to 30 % more of
// the backwards, whose rows then leave the first-level cache (Zen 4).
template <class T, class Task, class Measure, class Writer, class Finish = NothingLeft>
FASTNORM_INLINE void for_rows(
    const Task& task, std::int64_t begin, std::int64_t end, void* scratch, Measure measure, Writer writer,
    Finish finish = {}
) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    const std::int64_t cols = task.shape.cols;
    const bool overlaps = writes_beside<T> && !task.stream && work_rows(task.shape, sizeof(C)) > 1;
    C* const even = reinterpret_cast<C*>(space);
    C* const odd = reinterpret_cast<C*>(space + (overlaps ? work_row_bytes(cols, sizeof(C)) : 0));
    space += softmax_work_bytes(task.shape, sizeof(C));
    TaskRows<T, Task> rows(task, space);
    int count;
    for (std::int64_t first = begin; first < end; first += count) {
        count = rows_of_tile(first, end, rows.packed);
        rows.fetch(first, count);
        RowPlace<T> row = {};
        decltype(measure(row, Nothing{})) known = {};
        for (int i = 0; i <= count; ++i) {
            const RowPlace<T> last = row;
            if (i < count) row = rows.at(i, i % 2 == 0 ? even : odd);
            if constexpr (writes_beside<T>) {
                if (overlaps && i > 0 && i < count) {
                    const auto measured = measure(row, writer(known, last));
                    finish(known, last);
                    known = measured;
                    continue;
                }
            }
            if (i > 0) {
                writer(known, last).write(cols, task.stream);
                finish(known, last);
            }
            if (i < count) known = measure(row, Nothing{});
        }
        rows.write_back(first, count);
    }
}

// The exponentials of a row of x, their sum, and another sum over the row that dx needs: of terms(j, step,
// e_j), taken in the same pass where another row is written beside it, else by summed().
template <class T>
struct GradientRow {
    double powers, products;

    template <class Beside, class Terms, class Summed>
    FASTNORM_INLINE GradientRow(
        const RowPlace<T>& row, std::int64_t cols, bool streaming, const Beside& beside, Terms terms,
        Summed summed
    ) {
        const T* const fetched = fetched_meanwhile<T>(row.x, row.y, cols, streaming);
        if constexpr (std::is_same_v<Beside, Nothing>) {
            powers = ExponentialRow<T>(row.x, row.e, cols, fetched).sum;
            products = summed();
        } else {
            const PowerSum sums = row_exponentials(
                row.x, row.e, cols, fetched, beside,
                [=](std::int64_t j, auto step, auto power)
                    FASTNORM_INLINE_LAMBDA { return Both<decltype(power)>{power, terms(j, step, power)}; }
            );
            powers = ExponentialRow<T>(row.x, row.e, cols, sums).sum;
            products = powers == sums.value ? sums.second : summed();
        }
    }
};

// sum_columns with another row written beside.
template <class C, class Beside, class Terms>
FASTNORM_INLINE double sum_beside(std::int64_t cols, const Beside& beside, Terms terms) {
    const Beside other = beside;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const auto written = other.take(j, step);
        const auto term = terms(j, step);
        other.put(j, written, step);
        return term;
    });
}

FASTNORM_TARGET_END
