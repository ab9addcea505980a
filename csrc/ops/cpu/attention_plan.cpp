#include "ops/cpu/attention_plan.h"

#include <algorithm>
#include <new>

#include "ops/cpu/parallel.h"

namespace vajra::ops {
namespace {

constexpr int64_t kRows = 48;           // query rows of an item, over the heads of a group
constexpr int64_t kItemsPerThread = 4;  // enough for the longest-first order to even out

int64_t cost(const AttentionItem& item, int64_t group) {
  return int64_t(item.tile1 - item.tile0) * (item.queries * group + 4);  // + 4: reading K and V
}

template <class Fn>
void for_each_block(const AttentionArgs& args, const Fn& fn) {
  const int group = args.num_heads / args.kv.num_kv_heads;
  const int block = int(std::max<int64_t>(1, kRows / group));
  for (int s = 0; s < args.num_seqs; ++s) {
    const SeqSlice& seq = args.seqs[s];
    for (int q = 0; q < seq.num_query; q += block) {
      const int queries = std::min(block, seq.num_query - q);
      const int tokens = seq.ctx_len - seq.num_query + q + queries;
      const int tiles = (tokens + kKvTile - 1) / kKvTile;
      for (int h = 0; h < args.kv.num_kv_heads; ++h) fn(AttentionItem{&seq, h, q, queries, 0, tiles, nullptr});
    }
  }
}

}  // namespace

AttentionPlan plan_attention(Context& ctx, const AttentionArgs& args) {
  const int64_t group = args.num_heads / args.kv.num_kv_heads;
  int64_t blocks = 0, total = 0;
  for_each_block(args, [&](const AttentionItem& item) {
    ++blocks;
    total += cost(item, group);
  });
  const int threads = num_threads(ctx);
  const int64_t share = std::max<int64_t>(1, total / (threads * kItemsPerThread));
  // Pieces of an item: only those that would hold a thread for long after the others are done are split.
  const auto pieces = [&](const AttentionItem& item) {
    const int64_t c = cost(item, group);
    if (threads == 1 || c < 2 * share) return int64_t(1);
    return std::min<int64_t>(item.tile1, (c + share - 1) / share);
  };
  int64_t num_items = 0, num_folds = 0, floats = 0;
  for_each_block(args, [&](const AttentionItem& item) {
    const int64_t n = pieces(item);
    num_items += n;
    if (n == 1) return;
    ++num_folds;
    floats += item.tile1 * partial_floats(item.queries * group, args.kv.head_dim);
  });
  const size_t item_bytes = size_t(num_items + num_folds) * sizeof(AttentionItem);
  char* memory = static_cast<char*>(scratch(ctx, -1, item_bytes + 64 + size_t(floats) * sizeof(float)));
  auto* items = reinterpret_cast<AttentionItem*>(memory);
  AttentionItem *folds = items + num_items, *item_end = items, *fold_end = folds;
  float* partials = reinterpret_cast<float*>(memory + (item_bytes + 63) / 64 * 64);
  for_each_block(args, [&](AttentionItem item) {
    const int64_t n = pieces(item), tiles = item.tile1;
    if (n == 1) {
      new (item_end++) AttentionItem(item);
      return;
    }
    item.partials = partials;
    new (fold_end++) AttentionItem(item);
    const int64_t tile_floats = partial_floats(item.queries * group, args.kv.head_dim);
    for (int64_t i = 0; i < n; ++i) {
      item.tile0 = int32_t(tiles * i / n);
      item.tile1 = int32_t(tiles * (i + 1) / n);
      item.partials = partials + item.tile0 * tile_floats;
      new (item_end++) AttentionItem(item);
    }
    partials += tiles * tile_floats;
  });
  std::stable_sort(items, item_end,
                   [&](const AttentionItem& a, const AttentionItem& b) { return cost(a, group) > cost(b, group); });
  return {items, num_items, folds, num_folds};
}

}  // namespace vajra::ops
