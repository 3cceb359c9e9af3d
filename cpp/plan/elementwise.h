// Element-wise ops: activations, gates and losses of each element.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/activations.h"
#include "tasks/elementwise_losses.h"

namespace fastnorm {

// What an element takes one thread in nanoseconds, float32 in cache; float64 takes about five times as long
// (losses three times).
struct ElementCost {
    double forward, backward;
};
constexpr ElementCost activation_cost{0.4, 0.5};  // with one exponential
constexpr ElementCost swish_cost{0.7, 1.5};       // beta is an array
constexpr ElementCost gate_cost{0.5, 0.9};
constexpr ElementCost swish_gate_cost{3, 6};       // beta is not 1
constexpr ElementCost linear_gate_cost{0.3, 0.6};  // without an exponential
constexpr double squared_error_cost = 0.25, huber_cost = 0.25, bce_cost = 0.6, kl_cost = 0.6,
                 focal_cost = 1.2;

// Places the arrays in the task, which the geometry has to outlive: `inputs` inputs, then results, all of one
// shape and type. `warm`: the results may be written past the cache. An element costs `nanoseconds`.
Work plan_elementwise(
    Elementwise& task, Geometry& geometry, const View* arrays, int inputs, int results, bool warm,
    double nanoseconds
);

// The same for a loss, by its roles; null where one is not given or wanted. Weights have x's shape by their
// strides. Where the losses are summed
// (`adds`) rows and columns are those of the shape, else those that walk memory best.
Work plan_elementwise_loss(
    ElementwiseLoss& task, Geometry& geometry, const View* const (&arrays)[ElementwiseLoss::all_roles],
    bool adds, bool warm, double nanoseconds
);

// beta, which broadcasts to x, with x's shape: along axes where elements of x share one it is not stepped.
// `strides` has x.ndim elements, which have to outlive the view.
View broadcast(const View& beta, const View& x, std::ptrdiff_t* strides);

// Places x, beta, which has x's shape, and y in the task.
Work plan_swish(SwishForward& task, Geometry& geometry, const View& x, const View& beta, const View& y);

// How the gradients of swish run: by which kernel, and how dbeta comes from shares in it. A share is of one
// beta or, by columns, of a row of them; there are none where the kernel writes dbeta.
struct SwishPlan {
    Work work;
    bool by_columns = false;
    std::int64_t groups = 0, shares_per_group = 0, share_size = 1;

    std::int64_t shares() const { return groups * shares_per_group * share_size; }
};

// beta broadcasts to x, and dbeta is like it.
SwishPlan plan_swish_backward(
    SwishBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const View& beta,
    const View& dbeta
);

// dbeta, of the compute type, from its shares, which are added up in their order, in place.
void sum_shares(double* shares, const SwishPlan& plan, Element compute, void* sums);

}  // namespace fastnorm
