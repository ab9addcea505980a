// The order of sums that batch invariance rests on (docs/design/0001-numerics.md).
//
// VAJRA_FREE_ORDER builds a yardstick for the bench and nothing else: kernels that take the order that a shape likes
// best, as libraries do. What it answers depends on the batch, and its numerics version says so.
#pragma once

namespace vajra::ops {

#ifdef VAJRA_FREE_ORDER
constexpr bool kFixedOrder = false;
#else
constexpr bool kFixedOrder = true;
#endif

// Tokens per softmax tile, at fixed absolute positions. Free of that, longer ones are folded less often.
constexpr int kKvTile = kFixedOrder ? 128 : 512;

// Chains of additions over k for an element of a tile of rows x panels. Few elements do not fill the pipeline of the
// multiply-add by themselves.
constexpr int k_chains(int rows, int panels) { return kFixedOrder || rows * panels > 6 ? 1 : 2; }

}  // namespace vajra::ops
