// How an attention op is cut into work items. The cut never shows in the result: see docs/design/0001-numerics.md.
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace vajra::ops {

// The queries [query0, query0 + queries) of a sequence, all heads that share a KV head, over KV tiles [tile0, tile1).
struct AttentionItem {
  const SeqSlice* seq;
  int32_t kv_head, query0, queries;
  int32_t tile0, tile1;
  float* partials;  // null: the item covers all tiles and finishes; else a place for each tile's partial
};

struct AttentionPlan {
  const AttentionItem* items;  // longest first
  int64_t num_items;
  const AttentionItem* folds;  // what was split: each with all its tiles and partials
  int64_t num_folds;
};

// Floats of one tile's partial: m [rows], l [rows], o [rows, head_dim].
constexpr int64_t partial_floats(int64_t rows, int64_t head_dim) { return rows * (2 + head_dim); }

// Lives in the context's own scratch until the next op.
AttentionPlan plan_attention(Context& ctx, const AttentionArgs& args);

}  // namespace vajra::ops
