#include "ops/cpu/vec_avx2.h"
//
#include "ops/cpu/kernels.inl"
