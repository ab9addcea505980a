// On the vectors of AVX-512; what is not bfloat16 is computed as there.
#define VAJRA_ISA_NS amx
#define VAJRA_ISA_NAME "amx"
#define VAJRA_TILES
#include "ops/cpu/tile_amx.h"
//
#include "ops/cpu/vec_avx512.h"
//
#include "ops/cpu/kernels.inl"
