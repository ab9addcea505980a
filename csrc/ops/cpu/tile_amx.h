// The tile instructions of AMX, as tile_product.inl uses them.
//
// Written as assembly, since the compiler's intrinsics take tile numbers as literals only, and GCC's do not say that a
// load reads memory, so that what was stored for it just before may be lost.
#pragma once

#include <cstdint>

#include "ops/cpu/parallel.h"

#define VAJRA_TILE static inline __attribute__((always_inline))

namespace vajra::ops::VAJRA_ISA_NS {

// Rows and bytes per row of each tile; anything more than a shape is zero.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

VAJRA_TILE void tile_shapes(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); }
VAJRA_TILE void tile_release() { __asm__ volatile("tilerelease"); }

template <int Tile>
VAJRA_TILE void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
// Rows of 64 bytes, `stride` bytes apart.
template <int Tile>
VAJRA_TILE void tile_load(const char* p, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(Tile) : "memory");
}
template <int Tile>
VAJRA_TILE void tile_store(float* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(Tile) : "memory");
}
// C += A B, in bfloat16 pairs.
template <int C, int A, int B>
VAJRA_TILE void tile_dot() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

}  // namespace vajra::ops::VAJRA_ISA_NS
