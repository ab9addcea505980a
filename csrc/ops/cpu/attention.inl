// Attention over KV pages, tile by tile at fixed absolute positions.
//
// A tile yields a partial (m, l, o) from zero; partials are folded in ascending order. Whether one thread does both in
// turn or many leave partials behind to be folded later, the same operations happen on the same numbers.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// Maximum, sum of exponentials and weighted values of some tokens, per query row; m, l [rows], o [rows, head_dim].
struct Partial {
  float *m, *l, *o;
};
VAJRA_INLINE Partial partial_at(float* p, int64_t rows) { return {p, p + rows, p + 2 * rows}; }

// One item's view: its query rows, and buffers of the thread that works on it.
template <DType W>
struct Rows {
  static constexpr DType kAct = act_dtype(W);
  static constexpr int64_t kActBytes = dtype_size(kAct);
  static constexpr int v = k_pack(W);

  const AttentionArgs& args;
  const AttentionItem& item;
  int64_t group, rows, d;
  int64_t first_limit;       // tokens that the first query sees; each later query sees one more
  int block_bits;            // log2 of the block size
  const char* q = nullptr;   // [rows][d] act dtype
  char* q_buffer = nullptr;  // as q
  float* scores = nullptr;   // [rows][kKvTile]
  char* probs = nullptr;     // [rows][kKvTile] act dtype
  char* k_buffer = nullptr;  // one tile's K, for blocks of 8
  float* wide = nullptr;     // products' scratch

  Rows(const AttentionArgs& a, const AttentionItem& i)
      : args(a), item(i), group(a.num_heads / a.kv.num_kv_heads), rows(i.queries * group), d(a.kv.head_dim) {
    block_bits = __builtin_ctz(unsigned(a.kv.block_size));
    first_limit = i.seq->ctx_len - i.seq->num_query + i.query0 + 1;
  }

  int64_t limit(int64_t row) const { return first_limit + row / group; }

  // The item's query row r within the op's rows and heads.
  int64_t head_row(int64_t r) const {
    return int64_t(item.seq->row0 + item.query0 + r / group) * args.num_heads + item.kv_head * group + r % group;
  }

  void gather_queries() {
    const char* src = static_cast<const char*>(args.q);
    if (item.queries == 1) {  // a group's heads are neighbours already
      q = src + head_row(0) * d * kActBytes;
      return;
    }
    for (int64_t r = 0; r < rows; r += group) {
      __builtin_memcpy(q_buffer + r * d * kActBytes, src + head_row(r) * d * kActBytes, size_t(group * d * kActBytes));
    }
    q = q_buffer;
  }

  const char* page(const void* pool, int64_t token) const {
    const int64_t block = item.seq->block_table[token >> block_bits];
    return static_cast<const char*>(pool) + args.kv.page(item.kv_head, block) * int64_t(dtype_size(W));
  }

  // Two half panels of 8 tokens become one of 16; the second may lie beyond the sequence's blocks.
  const char* join_halves(int64_t token, int64_t end, int panel) {
    constexpr int64_t kHalf = Dot<W>::kBytes / 2;
    const char *lo = page(args.kv.k, token), *hi = token + 8 < end ? page(args.kv.k, token + 8) : lo;
    char* out = k_buffer + panel * kPanel * d * int64_t(dtype_size(W));
    for (int64_t s = 0; s < d / v; ++s) {
      __builtin_memcpy(out + 2 * s * kHalf, lo + s * kHalf, kHalf);
      __builtin_memcpy(out + (2 * s + 1) * kHalf, hi + s * kHalf, kHalf);
    }
    return out;
  }

  // scores = Q K^T for tokens [token0, token0 + tokens), in whole panels.
  void score(int64_t token0, int tokens) {
    const int panels = (tokens + kPanel - 1) / kPanel;
    const char* b[kKvTile / kPanel];
    for (int p = 0; p < panels; ++p) {
      const int64_t token = token0 + p * kPanel;
      if (args.kv.block_size < kPanel) {
        b[p] = join_halves(token, token0 + tokens, p);
      } else {
        b[p] = page(args.kv.k, token) + (token & (args.kv.block_size - 1)) * d * int64_t(dtype_size(W));
      }
    }
    Product x;
    x.a = q;
    x.lda = d * kActBytes;
    x.b = b;
    x.b_ld = panels;
    x.last_steps = d / v;
    x.b_stride = Dot<W>::kBytes;
    x.c = scores;
    x.ldc = kKvTile;
    x.wide = wide;
    product<W>(x, rows, panels);
  }

  // Turns scores into probabilities relative to the tile's own maximum. Tokens that a row does not see get zero.
  void softmax(int64_t token0, int tokens, const Partial& out) {
    const F scale = set1(args.scale), lowest = set1(-__builtin_inff());
    const int panels = (tokens + kPanel - 1) / kPanel;
    for (int64_t r = 0; r < rows; ++r) {
      const float* s = scores + r * kKvTile;
      char* p = probs + r * kKvTile * kActBytes;
      const int64_t left = limit(r) - token0;
      const int seen = left < 0 ? 0 : left < tokens ? int(left) : tokens;
      F top = lowest;
      for (int i = 0; i * kPanel < seen; ++i) {
        const F x = load(s + i * kPanel);
        top = max(top, seen - i * kPanel >= kPanel ? x : select_n(x, lowest, seen - i * kPanel));
      }
      out.m[r] = hmax(top) * args.scale;
      const F minus_m = set1(-out.m[r]);
      F sum = zero();
      for (int i = 0; i < panels; ++i) {
        const int lanes = seen - i * kPanel;
        F e = zero();
        if (lanes > 0) {
          e = exp(fma(load(s + i * kPanel), scale, minus_m));
          if (lanes < kPanel) e = select_n(e, zero(), lanes);
          sum = add(sum, e);
        }
        store_as<kAct>(p, i * kPanel, e);
      }
      out.l[r] = hsum(sum);
    }
  }

  // o = P V for the tile's tokens, page by page.
  void weigh_values(int64_t token0, int tokens, float* o) {
    const KvPool& kv = args.kv;
    const int panels = int(d / kPanel), chunks = (tokens + kv.block_size - 1) / kv.block_size;
    const char* b[kKvTile / 8 * kMaxHeadDim / kPanel];
    for (int c = 0; c < chunks; ++c) {
      const char* values = page(kv.v, token0 + c * kv.block_size);
      for (int p = 0; p < panels; ++p) b[c * panels + p] = values + p * Dot<W>::kBytes;
    }
    Product x;
    x.a = probs;
    x.lda = kKvTile * kActBytes;
    x.b = b;
    x.b_ld = panels;
    x.chunks = chunks;
    x.chunk_steps = kv.block_size / v;
    x.last_steps = (tokens - (chunks - 1) * kv.block_size + v - 1) / v;
    x.b_stride = d * v * int64_t(dtype_size(W));
    x.c = o;
    x.ldc = d;
    x.wide = wide;
    product<W>(x, rows, panels);
  }

  void tile(int64_t index, const Partial& out) {
    const int64_t token0 = index * kKvTile, end = limit(rows - 1);
    const int tokens = int(end - token0 < kKvTile ? end - token0 : kKvTile);
    score(token0, tokens);
    softmax(token0, tokens, out);
    weigh_values(token0, tokens, out.o);
  }

  // state = state and the next tile's partial together.
  void fold(const Partial& state, const Partial& next) {
    for (int64_t r0 = 0; r0 < rows; r0 += kPanel) {
      const int n = int(rows - r0 < kPanel ? rows - r0 : kPanel);
      const F m0 = load_n(state.m + r0, n), m1 = load_n(next.m + r0, n), m = max(m0, m1);
      const F a = exp(sub(m0, m)), b = exp(sub(m1, m));
      const F l = fma(load_n(state.l + r0, n), a, mul(load_n(next.l + r0, n), b));
      store_n(state.m + r0, m, n);
      store_n(state.l + r0, l, n);
      float keep[kPanel], take[kPanel];
      store(keep, a);
      store(take, b);
      for (int r = 0; r < n; ++r) {
        float *o = state.o + (r0 + r) * d, *o1 = next.o + (r0 + r) * d;
        const F ka = set1(keep[r]), kb = set1(take[r]);
        for (int64_t j = 0; j < d; j += kPanel) store(o + j, fma(load(o + j), ka, mul(load(o1 + j), kb)));
      }
    }
  }

  void finish(const Partial& state) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = head_row(r);
      const F l = set1(state.l[r]);
      for (int64_t j = 0; j < d; j += kPanel) {
        // + 0: a sum of nothing but zeros is +0, however many masked tokens took part.
        store_as<kAct>(args.out, at * d + j, add(div(load(state.o + r * d + j), l), zero()));
      }
      if (args.lse) args.lse[at] = state.m[r] + __builtin_logf(state.l[r]);
    }
  }
};

template <DType W>
void attention_as(Context& ctx, const AttentionArgs& args) {
  const AttentionPlan plan = plan_attention(ctx, args);
  const int64_t d = args.kv.head_dim;
  const int64_t product_floats = wide_floats<W>(d > kKvTile ? d : kKvTile);
  // In floats: the state, a tile's partial, scores, probabilities, queries, K of a tile, products' scratch.
  const auto scratch_bytes = [&](int64_t n) {
    return size_t(2 * partial_floats(n, d) + n * (2 * kKvTile + d) + kKvTile * d + product_floats + 64) * sizeof(float);
  };
  int most = 0;
  for (int64_t i = 0; i < plan.num_items; ++i) most = plan.items[i].queries > most ? plan.items[i].queries : most;
  // All of it now: here running out of memory is an exception like any other.
  for (int t = 0; t < num_threads(ctx); ++t)
    scratch(ctx, t, scratch_bytes(most * (args.num_heads / args.kv.num_kv_heads)));
  parallel_for(ctx, plan.num_items, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const AttentionItem& item = plan.items[i];
      Rows<W> rows(args, item);
      const int64_t n = rows.rows, floats = partial_floats(n, d);
      float* memory = static_cast<float*>(scratch(ctx, thread, scratch_bytes(n)));
      const Partial state = partial_at(memory, n), next = partial_at(memory + floats, n);
      rows.scores = memory + 2 * floats;
      rows.probs = reinterpret_cast<char*>(rows.scores + n * kKvTile);
      rows.q_buffer = rows.probs + n * kKvTile * 4;
      rows.k_buffer = rows.q_buffer + n * d * 4;
      rows.wide = reinterpret_cast<float*>(rows.k_buffer) + kKvTile * d;
      rows.gather_queries();
      for (int64_t t = item.tile0; t < item.tile1; ++t) {
        if (item.partials) {
          rows.tile(t, partial_at(item.partials + (t - item.tile0) * floats, n));
        } else if (t == 0) {
          rows.tile(t, state);
        } else {
          rows.tile(t, next);
          rows.fold(state, next);
        }
      }
      if (!item.partials) rows.finish(state);
    }
  });
  parallel_for(ctx, plan.num_folds, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const AttentionItem& item = plan.folds[i];
      Rows<W> rows(args, item);
      const int64_t floats = partial_floats(rows.rows, d);
      const Partial state = partial_at(item.partials, rows.rows);
      for (int64_t t = 1; t < item.tile1; ++t) rows.fold(state, partial_at(item.partials + t * floats, rows.rows));
      rows.finish(state);
    }
  });
}

void attention(Context& ctx, const AttentionArgs& args) {
  switch (args.kv.dtype) {
    case DType::kF32:
      return attention_as<DType::kF32>(ctx, args);
    case DType::kF16:
      return attention_as<DType::kF16>(ctx, args);
    case DType::kBF16:
      return attention_as<DType::kBF16>(ctx, args);
  }
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
