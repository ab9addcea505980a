// On the vectors of AVX-512; what is not bfloat16, and int8, is computed as there.
#define VAJRA_ISA_NS avx512fma
#define VAJRA_ISA_NAME "avx512fma"
#define VAJRA_WIDE
#include "ops/cpu/vec_avx512.h"
//
#include "ops/cpu/kernels.inl"
