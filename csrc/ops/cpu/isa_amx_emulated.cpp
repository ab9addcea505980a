// On the vectors of the portable family, so that it runs anywhere.
#define VAJRA_ISA_NS amx_emulated
#define VAJRA_ISA_NAME "amx-emulated"
#define VAJRA_TILES
#include "ops/cpu/tile_emulated.h"
//
#include "ops/cpu/vec_scalar.h"
//
#include "ops/cpu/kernels.inl"
