#include "engine/batch.h"

#include <algorithm>

namespace vajra::engine {

int64_t Batch::end_position() const {
  int32_t end = 0;
  for (const ops::SeqSlice& s : seqs) end = std::max(end, s.ctx_len);
  return end;
}

void Batch::build(const Plan& plan) {
  ids.clear(), positions.clear(), seqs.clear(), out_rows.clear(), out_slices.clear(), outputs.clear();
  for (const auto& seq : plan.preempted) seq->preempt();
  for (const PlanItem& item : plan.items) {
    Sequence& s = *item.seq;
    s.blocks.insert(s.blocks.end(), item.new_blocks.begin(), item.new_blocks.end());
    if (s.finish != Finish::kNone) continue;
    const int32_t row0 = int32_t(ids.size()), n = item.num_query;
    const int32_t begin = int32_t(s.processed), end = begin + n;
    ids.insert(ids.end(), s.tokens.begin() + begin, s.tokens.begin() + end);
    for (int32_t p = begin; p < end; ++p) positions.push_back(p);
    seqs.push_back({row0, n, end, s.blocks.data()});
    s.processed = end;
    const bool sampled = end == int32_t(s.tokens.size());
    const int32_t wanted = s.params.return_logits ? n : sampled ? 1 : 0;
    if (wanted == 0) continue;
    const int32_t first = int32_t(out_rows.size());
    outputs.push_back({&s, first, wanted, sampled});
    out_slices.push_back({first, wanted, end, s.blocks.data()});
    for (int32_t i = n - wanted; i < n; ++i) out_rows.push_back(row0 + i);
  }
}

}  // namespace vajra::engine
