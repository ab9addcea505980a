// Everything that can be wrong with a plan is found here, before anything of it takes effect.
#include <unordered_map>
#include <unordered_set>

#include "engine/engine.h"

namespace vajra::engine {
namespace {

std::string num(int64_t v) { return std::to_string(v); }

}  // namespace

Plan Engine::check(int64_t step_id, std::vector<ItemRequest>& items, const std::vector<int64_t>& preempted) const {
  const std::string where = "plan " + num(step_id) + ": ";
  const auto require = [&](bool ok, auto&& message) {
    if (!ok) throw std::invalid_argument(where + message());
  };
  const auto find = [&](int64_t id) -> const std::shared_ptr<Sequence>& {
    const auto it = sequences_.find(id);
    require(it != sequences_.end(), [&] { return "sequence " + num(id) + " is unknown (never added, or freed)"; });
    return it->second;
  };

  Plan plan;
  plan.step_id = step_id;
  std::unordered_set<int64_t> fresh;
  for (int64_t id : preempted) {
    require(fresh.insert(id).second, [&] { return "sequence " + num(id) + " is preempted twice"; });
    plan.preempted.push_back(find(id));
  }

  require(int64_t(items.size()) <= options_.max_batch_size, [&] {
    return num(int64_t(items.size())) + " sequences exceed max_batch_size " + num(options_.max_batch_size);
  });
  std::unordered_set<int64_t> seen;
  int64_t total = 0;
  for (ItemRequest& item : items) {
    const auto& seq = find(item.seq_id);
    const std::string who = "sequence " + num(item.seq_id) + " ";
    require(seen.insert(item.seq_id).second, [&] { return who + "appears twice"; });
    require(item.num_query >= 1,
            [&] { return who + "has num_query_tokens " + num(item.num_query) + "; at least 1 is needed"; });
    for (int32_t block : item.new_blocks)
      require(block >= 0 && block < options_.num_blocks, [&] {
        return who + "gets block id " + num(block) + "; the pool has 0 to " + num(options_.num_blocks - 1);
      });
    total += item.num_query;
    if (!seq->certainly_finished()) {  // else the item is skipped whatever it says
      const bool restart = fresh.contains(item.seq_id);
      const int64_t begin = restart ? 0 : seq->planned.processed;
      const int64_t end = begin + item.num_query;
      const int64_t blocks = (restart ? 0 : seq->planned.blocks) + int64_t(item.new_blocks.size());
      require(end <= seq->planned.known, [&] {
        return who + "has num_query_tokens " + num(item.num_query) + ", but only " + num(seq->planned.known - begin) +
               " of its " + num(seq->planned.known) + " tokens are unprocessed then";
      });
      require(blocks * options_.block_size >= end, [&] {
        return who + "needs " + num((end + options_.block_size - 1) / options_.block_size) + " blocks for " + num(end) +
               " tokens and would have " + num(blocks);
      });
    }
    plan.items.push_back({seq, int32_t(item.num_query), std::move(item.new_blocks)});
  }
  require(total <= options_.max_batch_tokens, [&] {
    return num(total) + " query tokens exceed max_batch_tokens " + num(options_.max_batch_tokens);
  });
  return plan;
}

}  // namespace vajra::engine
