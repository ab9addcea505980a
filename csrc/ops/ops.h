// The op table: everything a model's forward pass asks of a device.
//
// One model definition runs over this table; implementations are CPU kernel families (scalar, AVX2, AVX-512 BF16,
// AMX; see csrc/ops/cpu) and, in a shared object of its own, CUDA. Every op is a whole-tensor call: how it is cut
// into threads or thread blocks is the implementation's business, and never shows in the result's bits.
//
// Residual stream, GEMM outputs and logits are float32. GEMM inputs ("activations") have the act dtype: bfloat16
// for bfloat16 models, float32 for float32 and float16 models (float16 is storage; the arithmetic is float32).
// All matrices are row-major and dense unless said otherwise. Sizes are in elements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/order.h"

namespace vajra::ops {

enum class DType : uint8_t { kF32 = 0, kF16 = 1, kBF16 = 2 };

constexpr size_t dtype_size(DType t) { return t == DType::kF32 ? 4 : 2; }
constexpr DType act_dtype(DType model) { return model == DType::kBF16 ? DType::kBF16 : DType::kF32; }
// Neighbouring k that share a 32-bit lane in packed operands: bf16 dot products take pairs.
constexpr int k_pack(DType t) { return t == DType::kBF16 ? 2 : 1; }

constexpr int kPanel = 16;  // output columns per weight panel, tokens per K group, on every ISA

// A weight [n, k] (as in Hugging Face: y = x W^T), packed once:
// [ceil(n/16)][ceil(k/v)][16][v] with v = k_pack(dtype), zero-padded. ISA-independent.
struct PackedMatrix {
  const void* data = nullptr;
  int64_t n = 0, k = 0;
  DType dtype = DType::kF32;
  bool int8 = false;  // in the layout of pack_int8_rows; dtype is bfloat16 then
};
size_t packed_bytes(DType dtype, int64_t n, int64_t k);
// Packs rows [row0, row0 + rows) of a matrix whose full height is n; src is [rows, k] of src_dtype. Rows may come
// in any order and from several tensors (q, k, v or gate, up stacked), so loading can stream. row0 is arbitrary.
void pack_rows(void* dst, DType dtype, int64_t n, int64_t k, int64_t row0, int64_t rows, const void* src,
               DType src_dtype);

// Weight-only int8, for bfloat16 models: w[n][k] ~ q * scale with q in [-127, 127] and one scale per column n and group
// of kInt8Group k. Packed: [ceil(n/16)][ceil(k/kInt8Group)] groups of 16 float32 scales and 16 x kInt8Group int8,
// zero-padded. Their order lets AVX-512 widen 64 of them, four k, into two steps of bfloat16 pairs without a shuffle
// across its 128-bit lanes.
constexpr int kInt8Group = 32;
constexpr size_t kInt8GroupBytes = kPanel * sizeof(float) + size_t(kPanel) * kInt8Group;
constexpr size_t int8_bytes(int64_t n, int64_t k) {
  return size_t((n + kPanel - 1) / kPanel * ((k + kInt8Group - 1) / kInt8Group)) * kInt8GroupBytes;
}
// Where a group's k of a column lies among its int8: [k/4][column/4][k/2%2][column%4][k%2].
constexpr int int8_place(int k, int column) {
  return k / 4 * 4 * kPanel + column / 4 * 16 + k / 2 % 2 * 8 + column % 4 * 2 + k % 2;
}
// As pack_rows: scale = max |w| / 127, q = w / scale rounded to nearest, ties to even. A group that holds NaN or
// infinity gets the scale NaN.
void pack_int8_rows(void* dst, int64_t n, int64_t k, int64_t row0, int64_t rows, const void* src, DType src_dtype);

// One layer's KV pool, with v = k_pack(dtype) and g = min(block_size, 16):
// K: [kv_head][block][block_size/g][head_dim/v][g][v]  (tokens in lanes)
// V: [kv_head][block][block_size/v][head_dim][v]       (token pairs share a lane)
// Heads come first, so that a head's neighbouring blocks are one stream from memory.
// The pool is zeroed memory when the engine starts (0 x NaN of a stray page would poison attention).
struct KvPool {
  void* k = nullptr;
  void* v = nullptr;
  int num_kv_heads = 0, head_dim = 0, block_size = 0, num_blocks = 0;
  DType dtype = DType::kF32;
  // Where a block of a head begins, in elements of k and of v.
  int64_t page(int64_t head, int64_t block) const { return (head * num_blocks + block) * block_size * head_dim; }
  size_t elems() const { return size_t(page(num_kv_heads, 0)); }  // of k, and of v
};

// One sequence's rows in a step. Query row i sits at absolute position ctx_len - num_query + i.
struct SeqSlice {
  int32_t row0;                // its first row in the step's activations
  int32_t num_query;           // rows
  int32_t ctx_len;             // tokens in KV when the step is done: those before plus num_query
  const int32_t* block_table;  // ceil(ctx_len / block_size) block ids
};

struct GemmArgs {
  const void* a = nullptr;  // [m, k] of act_dtype(w.dtype), row stride lda
  int64_t m = 0, lda = 0;
  PackedMatrix w;               // [n, k]
  const float* bias = nullptr;  // [n] or null
  float* c = nullptr;           // [m, n], row stride ldc
  int64_t ldc = 0;
  bool accumulate = false;  // c += a w^T (residual), one rounding per element after the full k sum
};

struct RopeKvArgs {
  const float* qkv = nullptr;  // [m, (hq + 2 hkv) * d]: q heads, k heads, v heads; bias already added
  int64_t m = 0;
  int num_heads = 0;
  const float* q_norm = nullptr;  // [d] RMSNorm weight per head, or null; likewise k_norm
  const float* k_norm = nullptr;
  float eps = 0;
  const float* cos_sin = nullptr;      // [max position][d]: d/2 cos then d/2 sin, attention factor applied
  const int32_t* positions = nullptr;  // [m]
  const SeqSlice* seqs = nullptr;      // [num_seqs]: rows in order, every row covered
  int num_seqs = 0;
  KvPool kv;
  void* q_out = nullptr;  // [m, hq, d] of act dtype, rotated
};

struct AttentionArgs {
  const void* q = nullptr;  // [m, hq, d] of act dtype
  int num_heads = 0;
  float scale = 0;  // 1 / sqrt(d)
  const SeqSlice* seqs = nullptr;
  int num_seqs = 0;
  int64_t m = 0;
  KvPool kv;
  void* out = nullptr;   // [m, hq, d] of act dtype
  float* lse = nullptr;  // [m, hq] natural log-sum-exp, or null
};

// A device context: the CPU's thread pool and scratch, or a CUDA stream. Owned by whoever made it.
struct Context;

struct OpTable {
  const char* name;  // scalar, avx2, avx512, amx, cuda: part of the numerics fingerprint

  // out[m, hidden] float32 = rows `ids` of a packed table [vocab, hidden].
  void (*embedding)(Context&, const PackedMatrix& table, const int32_t* ids, int64_t m, float* out);
  // out[i] (act dtype, [m, n]) = rmsnorm(x[rows ? rows[i] : i]) * weight; x float32 [*, n].
  void (*rmsnorm)(Context&, const float* x, const int32_t* rows, int64_t m, int64_t n, const float* weight, float eps,
                  void* out, DType out_dtype);
  void (*gemm)(Context&, const GemmArgs&);
  void (*rope_kv)(Context&, const RopeKvArgs&);
  void (*attention)(Context&, const AttentionArgs&);
  // out (act dtype, [m, n]) = silu(gate_up[:, :n]) * gate_up[:, n:]; gate_up float32 [m, 2 n].
  void (*silu_mul)(Context&, const float* gate_up, int64_t m, int64_t n, void* out, DType out_dtype);
};

}  // namespace vajra::ops
