// AMX's tile instructions in C++, to the last bit: for tests of tile_product.inl on any processor.
//
// The order and rounding of TDPBF16PS are those of its pseudo-code in the Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2, "TDPBF16PS - Dot Product of BF16 Tiles Accumulated into Packed Single Precision Tile":
// for an element, temp[0] and temp[1] start at zero and take the products of even and odd elements of k in ascending
// order, each by a fused multiply-add; then dst = dst + (temp[0] + temp[1]). Every operation rounds to nearest even,
// takes subnormal operands for zeros and flushes subnormal results to zeros, whatever MXCSR says.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "ops/convert.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/tiles.h"

#define VAJRA_TILE static inline

namespace vajra::ops::VAJRA_ISA_NS {

struct TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

struct TileFile {
  bool ready = false;
  TileShapes shapes;
  uint32_t data[8][16][16];  // [tile][row][column]
};
static thread_local TileFile tile_file;
static int tiles_in_use;  // threads whose tiles have shapes

int count_tiles_in_use() { return __atomic_load_n(&tiles_in_use, __ATOMIC_RELAXED); }

// A tile that has a shape; the processor raises an exception where there is none.
VAJRA_TILE TileFile& tiles_with(int tile) {
  TileFile& f = tile_file;
  if (!f.ready || f.shapes.rows[tile] < 1 || f.shapes.rows[tile] > 16 || f.shapes.row_bytes[tile] != 64)
    throw std::logic_error("a tile is used without a shape");
  return f;
}

VAJRA_TILE void tile_shapes(const TileShapes& shapes) {
  if (!tile_file.ready) __atomic_fetch_add(&tiles_in_use, 1, __ATOMIC_RELAXED);
  tile_file = {};
  tile_file.shapes = shapes;
  tile_file.ready = true;
}
VAJRA_TILE void tile_release() {
  if (tile_file.ready) __atomic_fetch_sub(&tiles_in_use, 1, __ATOMIC_RELAXED);
  tile_file.ready = false;
}

template <int Tile>
VAJRA_TILE void tile_zero() {
  TileFile& f = tiles_with(Tile);
  __builtin_memset(f.data[Tile], 0, sizeof f.data[Tile]);
}
template <int Tile>
VAJRA_TILE void tile_load(const char* p, int64_t stride) {
  tile_zero<Tile>();
  for (int r = 0; r < tile_file.shapes.rows[Tile]; ++r) __builtin_memcpy(tile_file.data[Tile][r], p + r * stride, 64);
}
template <int Tile>
VAJRA_TILE void tile_store(float* p, int64_t stride) {
  TileFile& f = tiles_with(Tile);
  for (int r = 0; r < f.shapes.rows[Tile]; ++r)
    __builtin_memcpy(reinterpret_cast<char*>(p) + r * stride, f.data[Tile][r], 64);
}

// The even or odd bfloat16 of a pair, a subnormal one as zero.
VAJRA_TILE double tile_operand(uint32_t pair, bool odd) {
  const uint32_t bits = odd ? pair & 0xffff0000u : pair << 16;
  return double(bits_to_float((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits));
}

// A float32 sum or fused multiply-add, given in double. Its operands have 24 bits at most (a product of bfloat16 has
// 16), so rounding to double's 53 first changes nothing. Whether it is subnormal is decided as for SSE: after rounding
// to 24 bits, at any exponent.
VAJRA_TILE float tile_round(double x) {
  if (x < 0x1p-125 && x > -0x1p-125) {
    const float scaled = float(x * 0x1p64);
    if (scaled < 0x1p-62f && scaled > -0x1p-62f) return __builtin_copysignf(0.0f, float(x));
    return scaled * 0x1p-64f;
  }
  return float(x);
}

template <int C, int A, int B>
VAJRA_TILE void tile_dot() {
  tiles_with(C), tiles_with(B);
  TileFile& f = tiles_with(A);
  if (f.shapes.rows[C] != f.shapes.rows[A] || f.shapes.rows[B] != 16)
    throw std::logic_error("the shapes of a product's tiles do not match");
  double even[16][16], odd[16][16];
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 16; ++n) {
      even[k][n] = tile_operand(f.data[B][k][n], false);
      odd[k][n] = tile_operand(f.data[B][k][n], true);
    }
  }
  for (int m = 0; m < f.shapes.rows[C]; ++m) {
    float temp[2][16] = {};
    for (int k = 0; k < 16; ++k) {
      const double a0 = tile_operand(f.data[A][m][k], false), a1 = tile_operand(f.data[A][m][k], true);
      for (int n = 0; n < 16; ++n) {
        temp[0][n] = tile_round(a0 * even[k][n] + double(temp[0][n]));
        temp[1][n] = tile_round(a1 * odd[k][n] + double(temp[1][n]));
      }
    }
    for (int n = 0; n < 16; ++n) {
      const uint32_t dst = f.data[C][m][n];
      const float old = bits_to_float((dst & 0x7f800000u) == 0 ? dst & 0x80000000u : dst);
      const float sum = tile_round(double(temp[0][n]) + double(temp[1][n]));
      f.data[C][m][n] = float_to_bits(tile_round(double(old) + double(sum)));
    }
  }
}

}  // namespace vajra::ops::VAJRA_ISA_NS
