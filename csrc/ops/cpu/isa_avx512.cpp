#include "ops/cpu/vec_avx512.h"
//
#include "ops/cpu/kernels.inl"
