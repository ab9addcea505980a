// The kernels of one family. Included by isa_<family>.cpp after its vec_<vectors>.h, and compiled with that family's
// flags.
//
// Nothing here, nor in what it includes, may instantiate a std:: template or define an inline function with external
// linkage: the linker keeps one copy of such code, perhaps this one, for processors that cannot run it.

#include "ops/convert.h"
#include "ops/cpu/attention_plan.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/tiles.h"
#include "ops/ops.h"
// In order of use:
#include "ops/cpu/microkernel.inl"
//
#ifdef VAJRA_TILES
#include "ops/cpu/tile_product.inl"
#endif
//
#ifdef VAJRA_WIDE
#include "ops/cpu/wide_product.inl"
#endif
//
#include "ops/cpu/elementwise.inl"
#include "ops/cpu/gemm.inl"
//
#include "ops/cpu/gemm_int8.inl"
#include "ops/cpu/rope.inl"
//
#include "ops/cpu/attention.inl"

namespace vajra::ops::VAJRA_ISA_NS {

extern const OpTable kTable;
const OpTable kTable = {VAJRA_ISA_NAME, embedding, rmsnorm, gemm, rope_kv, attention, silu_mul};

}  // namespace vajra::ops::VAJRA_ISA_NS
