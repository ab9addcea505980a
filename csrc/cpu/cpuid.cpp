// Compiled without architecture flags: this code runs before anything is known of the processor.
#include "cpu/cpuid.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace vajra::cpu {
namespace {

constexpr const char* kNames = "scalar, avx2, avx512, avx512fma, amx";

struct Host {
  Isa isa = Isa::kScalar;
  std::string amx_refusal = {};
  bool intel = false;
};

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

bool is_intel() {
  const Leaf vendor = cpuid(0, 0);
  char name[12];
  std::memcpy(name, &vendor.ebx, 4);
  std::memcpy(name + 4, &vendor.edx, 4);
  std::memcpy(name + 8, &vendor.ecx, 4);
  return std::memcmp(name, "GenuineIntel", sizeof name) == 0;
}

// The register state that the operating system saves on a context switch.
uint64_t xcr0() {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return uint64_t(hi) << 32 | lo;
}

// Asks the kernel for the registers of tiles, once for the whole process: without it the first tile instruction would
// end it. Returns why not, or nothing.
std::string request_tiles(uint64_t saved) {
  constexpr uint64_t kTiles = 3u << 17;  // their shapes and their data
  if ((saved & kTiles) != kTiles) return "the operating system does not save tile registers (XCR0 bits 17 and 18)";
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return {};
  return std::string("arch_prctl(ARCH_REQ_XCOMP_PERM) failed: ") + std::strerror(errno);
}

Host detect() {
  const Leaf l1 = cpuid(1, 0), l7 = cpuid(7, 0), l71 = cpuid(7, 1);
  if (!bit(l1.ecx, 27)) return {Isa::kScalar};  // no OSXSAVE: xgetbv would trap
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;   // xmm + ymm; and opmask + both halves of the zmm file
  const uint64_t saved = xcr0();
  const bool avx2 = bit(l1.ecx, 28) && bit(l1.ecx, 12) && bit(l1.ecx, 29) && bit(l7.ebx, 5);  // AVX, FMA, F16C, AVX2
  if (!avx2 || (saved & kYmm) != kYmm) return {Isa::kScalar};
  const bool avx512 = bit(l7.ebx, 16) && bit(l7.ebx, 17) && bit(l7.ebx, 30) && bit(l7.ebx, 31) &&  // F, DQ, BW, VL
                      bit(l7.ecx, 1) && bit(l71.eax, 5);                                           // VBMI, BF16
  if (!avx512 || (saved & kZmm) != kZmm) return {Isa::kAvx2};
  const bool intel = is_intel();
  if (!bit(l7.edx, 24) || !bit(l7.edx, 22)) return {Isa::kAvx512Fma, {}, intel};  // AMX TILE, BF16
  const std::string refusal = request_tiles(saved);
  if (refusal.empty()) return {Isa::kAmx, {}, intel};
  std::fprintf(stderr, "vajra: this processor has AMX, but %s; the kernel family is avx512fma at most\n",
               refusal.c_str());
  return {Isa::kAvx512Fma, refusal, intel};
}
#else
Host detect() { return {}; }
#endif

const Host& host() {
  static const Host found = detect();
  return found;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Fma:
      return "avx512fma";
    case Isa::kAmx:
      return "amx";
    case Isa::kScalar:
      break;
  }
  return "scalar";
}

Isa host_isa() { return host().isa; }

const char* amx_refusal() { return host().amx_refusal.c_str(); }

Isa best_isa() {
  const Isa last = host_isa();
  return last == Isa::kAvx512Fma && !host().intel ? Isa::kAvx512 : last;
}

Isa selected_isa() {
  const char* wish = std::getenv("VAJRA_ISA");
  if (wish == nullptr || *wish == 0) return best_isa();
  for (int i = 0; i < kNumIsas; ++i) {
    const Isa isa = Isa(i);
    if (std::string(wish) != isa_name(isa)) continue;
    if (isa <= host_isa()) return isa;
    throw std::invalid_argument(std::string("VAJRA_ISA=") + wish + ": this processor supports at most " +
                                isa_name(host_isa()) + " of " + kNames);
  }
  if (std::string(wish) == "amx-emulated")
    throw std::invalid_argument(
        "VAJRA_ISA=amx-emulated: it emulates tile instructions for tests of kernels, and no engine runs on it; "
        "allowed are " +
        std::string(kNames));
  throw std::invalid_argument(std::string("VAJRA_ISA=") + wish + ": allowed are " + kNames);
}

}  // namespace vajra::cpu
