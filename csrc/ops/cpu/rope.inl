// Per-head q/k norm, rotation, and the write of keys and values into their pages.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

constexpr int kMaxHeadDim = 256;

// Rotates one head: halves (x1, x2) become (x1 cos - x2 sin, x2 cos + x1 sin). d is a multiple of 16.
VAJRA_INLINE void rotate(const float* x, const float* norm, float eps, const float* cos_sin, int d, float* out) {
  float normed[kMaxHeadDim];
  if (norm) {
    const F factor = set1(rms_factor(x, d, eps));
    for (int j = 0; j < d; j += kPanel) store(normed + j, mul(mul(load(x + j), factor), load(norm + j)));
    x = normed;
  }
  const int half = d / 2;
  for (int j = 0; j < half; j += kPanel) {
    const int lanes = half - j < kPanel ? half - j : kPanel;
    const F cos = load_n(cos_sin + j, lanes), sin = load_n(cos_sin + half + j, lanes);
    const F x1 = load_n(x + j, lanes), x2 = load_n(x + half + j, lanes);
    store_n(out + j, sub(mul(x1, cos), mul(x2, sin)), lanes);
    store_n(out + half + j, add(mul(x2, cos), mul(x1, sin)), lanes);
  }
}

// Where one token's keys and values of one head lie in the pool, in elements.
struct Slot {
  int64_t k, v;
};
VAJRA_INLINE Slot slot_of(const KvPool& kv, int64_t block, int head, int offset, int pack) {
  const int64_t page = kv.page(head, block);
  const int g = kv.block_size < kPanel ? kv.block_size : kPanel;
  return {page + int64_t(offset / g) * g * kv.head_dim + offset % g * pack,
          page + int64_t(offset / pack) * kv.head_dim * pack + offset % pack};
}

template <DType T>
void rope_kv_as(Context& ctx, const RopeKvArgs& args) {
  constexpr DType kAct = act_dtype(T);
  constexpr int v = k_pack(T);
  using Element = typename Storage<T>::Type;
  const KvPool& kv = args.kv;
  const int d = kv.head_dim, hq = args.num_heads, hkv = kv.num_kv_heads;
  const int g = kv.block_size < kPanel ? kv.block_size : kPanel;
  parallel_for(ctx, args.m, 4, [&](int64_t begin, int64_t end, int) {
    int s = 0;
    for (int64_t row = begin; row < end; ++row) {
      while (s + 1 < args.num_seqs && args.seqs[s + 1].row0 <= row) ++s;
      const SeqSlice& seq = args.seqs[s];
      const int position = seq.ctx_len - seq.num_query + int(row - seq.row0);
      const int64_t block = seq.block_table[position / kv.block_size];
      const int offset = position % kv.block_size;
      const float* cos_sin = args.cos_sin + int64_t(args.positions[row]) * d;
      const float* qkv = args.qkv + row * (hq + 2 * hkv) * d;
      float head[kMaxHeadDim];
      for (int h = 0; h < hq; ++h) {
        rotate(qkv + h * d, args.q_norm, args.eps, cos_sin, d, head);
        for (int j = 0; j < d; j += kPanel) store_as<kAct>(args.q_out, (row * hq + h) * d + j, load(head + j));
      }
      for (int h = 0; h < hkv; ++h) {
        const Slot at = slot_of(kv, block, h, offset, v);
        Element stored[kMaxHeadDim];
        rotate(qkv + (hq + h) * d, args.k_norm, args.eps, cos_sin, d, head);
        for (int j = 0; j < d; j += kPanel) store_as<T>(stored, j, load(head + j));
        Element* k = static_cast<Element*>(kv.k) + at.k;
        for (int j = 0; j < d; j += v) __builtin_memcpy(k + int64_t(j) * g, stored + j, sizeof(Element) * v);
        const float* value = qkv + (hq + hkv + h) * d;
        for (int j = 0; j < d; j += kPanel) store_as<T>(stored, j, load(value + j));
        Element* out = static_cast<Element*>(kv.v) + at.v;
        for (int j = 0; j < d; ++j) out[j * v] = stored[j];
        // Attention reads whole pairs: the one beside the sequence's last token must not hold a stranger's NaN.
        if (v == 2 && offset % 2 == 0 && position + 1 == seq.ctx_len) {
          for (int j = 0; j < d; ++j) out[j * v + 1] = Element(0);
        }
      }
    }
  });
}

void rope_kv(Context& ctx, const RopeKvArgs& args) {
  switch (args.kv.dtype) {
    case DType::kF32:
      return rope_kv_as<DType::kF32>(ctx, args);
    case DType::kF16:
      return rope_kv_as<DType::kF16>(ctx, args);
    case DType::kBF16:
      return rope_kv_as<DType::kBF16>(ctx, args);
  }
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
