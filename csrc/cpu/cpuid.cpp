// Compiled without architecture flags: this code runs before anything is known of the processor.
#include "cpu/cpuid.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace vajra::cpu {
namespace {

#if defined(__x86_64__)
struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  Leaf r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

constexpr bool bit(uint32_t word, int i) { return (word >> i & 1) != 0; }

// The register state that the operating system saves on a context switch.
uint64_t xcr0() {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return uint64_t(hi) << 32 | lo;
}

Isa detect() {
  const Leaf l1 = cpuid(1, 0), l7 = cpuid(7, 0), l71 = cpuid(7, 1);
  if (!bit(l1.ecx, 27)) return Isa::kScalar;   // no OSXSAVE: xgetbv would trap
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;  // xmm + ymm; and opmask + both halves of the zmm file
  const uint64_t saved = xcr0();
  const bool avx2 = bit(l1.ecx, 28) && bit(l1.ecx, 12) && bit(l1.ecx, 29) && bit(l7.ebx, 5);  // AVX, FMA, F16C, AVX2
  if (!avx2 || (saved & kYmm) != kYmm) return Isa::kScalar;
  const bool avx512 = bit(l7.ebx, 16) && bit(l7.ebx, 17) && bit(l7.ebx, 30) && bit(l7.ebx, 31) &&  // F, DQ, BW, VL
                      bit(l7.ecx, 1) && bit(l71.eax, 5);                                           // VBMI, BF16
  if (!avx512 || (saved & kZmm) != kZmm) return Isa::kAvx2;
  // AMX: leaf 7 edx bits 24 (tile) and 22 (bf16), and arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) granted.
  return Isa::kAvx512;
}
#else
Isa detect() { return Isa::kScalar; }
#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kScalar:
      break;
  }
  return "scalar";
}

Isa host_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa selected_isa() {
  const char* wish = std::getenv("VAJRA_ISA");
  if (wish == nullptr || *wish == 0) return host_isa();
  for (int i = 0; i < kNumIsas; ++i) {
    const Isa isa = Isa(i);
    if (std::string(wish) != isa_name(isa)) continue;
    if (isa <= host_isa()) return isa;
    throw std::invalid_argument(std::string("VAJRA_ISA=") + wish + ": this processor supports at most " +
                                isa_name(host_isa()) + "; VAJRA_ISA can only lower the kernel family");
  }
  throw std::invalid_argument(std::string("VAJRA_ISA=") + wish + ": allowed are scalar, avx2, avx512");
}

}  // namespace vajra::cpu
