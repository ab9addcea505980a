// What this processor can run, and which kernel family to run on it.
#pragma once

namespace vajra::cpu {

// Kernel families, each able to run wherever a later one can.
enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Fma = 3, kAmx = 4 };

inline constexpr int kNumIsas = 5;

// "scalar", "avx2" (AVX2, FMA, F16C), "avx512" (AVX-512 F, BW, VL, DQ, VBMI and BF16), "avx512fma" (the same, with
// float32 multiply-adds for bfloat16 products) or "amx" (avx512's and AMX TILE and BF16).
const char* isa_name(Isa isa);

// The last family that processor and operating system support. The first call asks the system for AMX's registers, and
// says on stderr when it is refused them.
Isa host_isa();

// Why AMX is not used on a processor that has it; empty where it is used, or absent.
const char* amx_refusal();

// The best family here: amx, or else the AVX-512 family with the faster products: avx512fma on Intel's processors,
// which take two cycles for a bfloat16 dot product of 32 pairs and one for two multiply-adds of 16 floats, avx512 on
// others.
Isa best_isa();

// best_isa(), or what the environment variable VAJRA_ISA names instead. Throws std::invalid_argument for a value that
// names no family, or one above the host's.
Isa selected_isa();

}  // namespace vajra::cpu
