// A step's rows, built from its plan: what the forward pass reads, and which rows are sampled for whom.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/sequence.h"
#include "ops/ops.h"

namespace vajra::engine {

struct PlanItem {
  std::shared_ptr<Sequence> seq;
  int32_t num_query = 0;
  std::vector<int32_t> new_blocks;
};

struct Plan {
  int64_t step_id = 0;
  std::vector<PlanItem> items;
  std::vector<std::shared_ptr<Sequence>> preempted;
};

// One sequence's part of the output rows.
struct Output {
  Sequence* seq;
  int64_t first_row;  // among the output rows
  int64_t num_rows;
  bool sampled;       // from its last row
};

struct Batch {
  std::vector<int32_t> ids, positions;    // [rows]
  std::vector<ops::SeqSlice> seqs;        // rows in order
  std::vector<int32_t> out_rows;          // rows whose logits are wanted, ascending
  std::vector<ops::SeqSlice> out_slices;  // the same rows as attention sees them, row0 counted among out_rows
  std::vector<Output> outputs;

  int64_t rows() const { return int64_t(ids.size()); }
  int64_t end_position() const;  // one beyond the largest position

  // Applies the plan to its sequences and describes the step. Finished sequences get no row.
  void build(const Plan& plan);
};

}  // namespace vajra::engine
