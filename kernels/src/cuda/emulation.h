// CUDA on the host, for tests: grid, blocks, shared memory, barriers and shuffles in lockstep.
//
// In: the text of kernels, which is included after this. Out: `emulation_launch`. What always holds: every thread of a
// block is a fiber; it runs until a barrier or a shuffle, where it waits for the others. Threads and blocks run in
// order, in reversed order or shuffled, so that a race shows as a difference. Shared memory is NaN at a launch's start.
// A thread that leaves while others wait for it, threads that wait at different barriers, and an index outside of an array
// in shared memory or registers end the launch with a message.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>

#define __global__ static
#define __device__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("emulated_shared")))
#define threadIdx (emulation::lane->index)
#define blockIdx (emulation::block_index)
#define gridDim (emulation::grid_size)
#define __syncthreads() emulation::wait(emulation::Barrier, __LINE__)
#define __syncwarp() emulation::wait(emulation::Warp, __LINE__)
#define __shfl_xor_sync(mask, v, by) emulation::shuffle(v, (emulation::lane->index.x % 32) ^ (unsigned)(by), __LINE__)
#define __shfl_up_sync(mask, v, by) \
  emulation::shuffle(v, emulation::lane->index.x % 32 < (unsigned)(by) ? emulation::lane->index.x % 32 : emulation::lane->index.x % 32 - (by), __LINE__)
#define __shfl_sync(mask, v, from) emulation::shuffle(v, (unsigned)(from), __LINE__)

extern "C" char __start_emulated_shared[], __stop_emulated_shared[];
// So that the section exists.
__attribute__((section("emulated_shared"), used)) static int emulated_shared_begin[4];

namespace emulation {

struct Index { unsigned x; };
enum State { Ready, Barrier, Warp, Done };

struct Lane {
  Index index;
  State state;
  int line;
  unsigned turn;
  std::uint64_t slot[2];
  unsigned operand[2][6];
  void* stack;
  char* memory;
};

const unsigned MOST = 1024;
const std::size_t STACK = 64 << 10;
static Lane lanes[MOST];
static Lane* lane;
static Index block_index, grid_size;
static void* scheduler;
static void (*body)(const std::uint64_t*);
static const std::uint64_t* arguments;
static const char* wrong;
static char text[256];

extern "C" void emulation_switch(void** save, void* load);
#if defined(__x86_64__)
asm(".text\n.globl emulation_switch\n.type emulation_switch,@function\nemulation_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
static const int SAVED = 6;
#elif defined(__aarch64__)
asm(".text\n.globl emulation_switch\n.type emulation_switch,%function\nemulation_switch:\n"
    "sub sp, sp, #160\nstp x19, x20, [sp, #0]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\n"
    "stp x25, x26, [sp, #48]\nstp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\n"
    "stp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp, #0]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\nadd sp, sp, #160\nret\n");
#else
#error "no switch between fibers for this machine"
#endif

static void wait(State state, int line) {
  Lane* self = lane;
  self->state = state;
  self->line = line;
  emulation_switch(&self->stack, scheduler);
}

// What the compiler calls before an index that is outside of its array (-fsanitize=bounds): the thread ends there.
struct Place {
  const char* file;
  std::uint32_t line, column;
};
extern "C" void __ubsan_handle_out_of_bounds(const Place* place, std::uintptr_t index) {
  std::snprintf(text, sizeof text, "index %lld is outside of its array at line %u", (long long)index, place->line);
  wrong = text;
  wait(Done, 0);
}

extern "C" void emulation_enter() {
  body(arguments);
  wait(Done, 0);
  std::abort();
}

static void begin(Lane& l) {
  if (!l.memory) l.memory = (char*)std::aligned_alloc(64, STACK);
  char* top = l.memory + STACK - 64;
#if defined(__x86_64__)
  void** at = (void**)(top - 8);
  *--at = (void*)emulation_enter;
  for (int i = 0; i < SAVED; ++i) *--at = nullptr;
  l.stack = at;
#else
  std::memset(top - 160, 0, 160);
  *(void**)(top - 160 + 88) = (void*)emulation_enter;
  l.stack = top - 160;
#endif
  l.state = Ready;
  l.turn = 0;
}

template <class T> static T shuffle(T v, unsigned from, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle of more than 64 bits");
  Lane* self = lane;
  const unsigned turn = self->turn++ & 1;
  std::memcpy(&self->slot[turn], &v, sizeof(T));
  wait(Warp, line);
  T out;
  std::memcpy(&out, &lanes[self->index.x / 32 * 32 + from].slot[turn], sizeof(T));
  return out;
}

// A number of a precision from its bits: so many bits of exponent and of fraction.
static double from_bits(unsigned w, int exponent, int fraction) {
  const int e = (w >> fraction) & ((1 << exponent) - 1), bias = (1 << (exponent - 1)) - 1;
  const double part = std::ldexp((double)(w & ((1u << fraction) - 1)), -fraction);
  const double size = e == (1 << exponent) - 1 ? (part != 0 ? NAN : INFINITY) : std::ldexp(e == 0 ? part : 1 + part, (e == 0 ? 1 : e) - bias);
  return w >> (exponent + fraction) & 1 ? -size : size;
}

// Element `half` of a word, by the precision's name.
static double tf32(unsigned w, int) { return from_bits(w, 8, 23); }
static double bf16(unsigned w, int half) { return from_bits(w >> 16 * half & 0xffff, 8, 7); }
static double f16(unsigned w, int half) { return from_bits(w >> 16 * half & 0xffff, 5, 10); }

// The product of a warp, as prelude.cuh describes it. Products are exact, and added in f64 before they are added to c.
static void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], double (*of)(unsigned, int), int halves, int line) {
  Lane* self = lane;
  const unsigned turn = self->turn++ & 1, index = self->index.x % 32;
  std::memcpy(self->operand[turn], a, sizeof a);
  std::memcpy(self->operand[turn] + 4, b, sizeof b);
  wait(Warp, line);
  const Lane* warp = &lanes[self->index.x / 32 * 32];
  for (unsigned r = 0; r < 4; ++r) {
    const unsigned row = index / 4, below = r / 2, column = 2 * (index % 4) + r % 2;
    double sum = 0;
    for (unsigned k = 0; k < 8; ++k)
      for (int half = 0; half < halves; ++half)
        sum += of(warp[4 * row + k % 4].operand[turn][below + k / 4 * 2], half) * of(warp[4 * column + k % 4].operand[turn][4 + k / 4], half);
    c[r] = (float)(c[r] + sum);
  }
}

// The nearest number of a precision, ties to even; NaN stays.
static unsigned to_bits(float v, int exponent, int fraction) {
  const unsigned sign = std::signbit(v) ? 1u << (exponent + fraction) : 0, most = ((1u << exponent) - 1) << fraction;
  if (v != v) return sign | most | 1u << (fraction - 1);
  const int bias = (1 << (exponent - 1)) - 1;
  const double size = std::fabs((double)v);
  if (size == 0) return sign;
  const int e = std::max(size < INFINITY ? std::ilogb(size) : bias + 1, 1 - bias);
  if (e > bias) return sign | most;
  // In units of the last place; a carry into the next exponent, and to infinity, comes by itself.
  const unsigned units = (unsigned)std::nearbyint(std::ldexp(size, fraction - e));
  return sign | (units + (unsigned)(e - 1 + bias) * (1u << fraction));
}

static std::uint64_t dice = 1;
static unsigned roll(unsigned below) {
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(dice >> 33) % below;
}

static void order(unsigned* list, unsigned n, int how) {
  for (unsigned i = 0; i < n; ++i) list[i] = how == 1 ? n - 1 - i : i;
  if (how == 2)
    for (unsigned i = n; i > 1; --i) std::swap(list[i - 1], list[roll(i)]);
}

// Lets lanes from..to that wait in this way go on, if all of them do, at one line.
static bool release(State state, unsigned from, unsigned to) {
  unsigned waiting = 0, left = 0;
  int line = 0;
  for (unsigned i = from; i < to; ++i) {
    if (lanes[i].state == Done) ++left;
    else if (lanes[i].state != state) return false;
    else if (waiting++ == 0) line = lanes[i].line;
    else if (lanes[i].line != line) {
      std::snprintf(text, sizeof text, "threads wait at lines %d and %d", line, lanes[i].line);
      wrong = text;
      return false;
    }
  }
  if (waiting == 0) return false;
  if (left != 0) {
    std::snprintf(text, sizeof text, "%u threads have left while %u wait at line %d", left, waiting, line);
    wrong = text;
    return false;
  }
  for (unsigned i = from; i < to; ++i) lanes[i].state = Ready;
  return true;
}

static void run_block(unsigned threads, int how) {
  static unsigned list[MOST];
  for (unsigned i = 0; i < threads; ++i) {
    lanes[i].index.x = i;
    begin(lanes[i]);
  }
  for (;;) {
    bool ran = false;
    order(list, threads, how);
    for (unsigned n = 0; n < threads; ++n) {
      lane = &lanes[list[n]];
      if (lane->state != Ready) continue;
      ran = true;
      emulation_switch(&scheduler, lane->stack);
    }
    bool freed = false, done = true;
    for (unsigned w = 0; w < threads; w += 32) freed |= release(Warp, w, w + 32 < threads ? w + 32 : threads);
    if (!freed && !wrong) freed = release(Barrier, 0, threads);
    for (unsigned i = 0; i < threads; ++i) done &= lanes[i].state == Done;
    if (done || wrong) return;
    if (!ran && !freed) {
      wrong = "threads wait for each other";
      return;
    }
  }
}

template <std::size_t... I, class... P>
static void spread(void (*f)(P...), const std::uint64_t* a, std::index_sequence<I...>) {
  f((P)a[I]...);
}
template <class... P> static void call(void (*f)(P...), const std::uint64_t* a) {
  spread(f, a, std::index_sequence_for<P...>{});
}

}  // namespace emulation

#define EMULATED
#define mma_tf32(c, a, b) emulation::mma(c, a, b, emulation::tf32, 1, __LINE__)
#define mma_bf16(c, a, b) emulation::mma(c, a, b, emulation::bf16, 2, __LINE__)
#define mma_f16(c, a, b) emulation::mma(c, a, b, emulation::f16, 2, __LINE__)
// Ties away from zero.
static inline unsigned to_tf32(float v) {
  unsigned w;
  std::memcpy(&w, &v, 4);
  return v != v ? 0x7fffffff : std::isinf(v) ? w : (w + 0x1000) & 0xffffe000u;
}
static inline unsigned short to_bf16(float v) { return (unsigned short)emulation::to_bits(v, 8, 7); }
static inline unsigned short to_f16(float v) { return (unsigned short)emulation::to_bits(v, 5, 10); }

static inline int __float_as_int(float v) { int out; std::memcpy(&out, &v, 4); return out; }
static inline float __int_as_float(int v) { float out; std::memcpy(&out, &v, 4); return out; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((std::uint64_t)a * b >> 32); }
static inline int __float2int_rz(float v) {
  if (v != v) return 0;
  if (v >= 2147483648.0f) return 2147483647;
  if (v <= -2147483648.0f) return -2147483647 - 1;
  return (int)v;
}

typedef void (*EmulatedCall)(const std::uint64_t*);
extern const EmulatedCall emulated_calls[];
extern const unsigned emulated_count;

// Runs a grid; gives null, or what went wrong.
extern "C" const char* emulation_launch(unsigned function, unsigned grid, unsigned threads, const std::uint64_t* args, int how) {
  using namespace emulation;
  if (function >= emulated_count || threads > MOST || threads == 0) return "no such function, or too many threads";
  std::memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
  body = emulated_calls[function];
  arguments = args;
  wrong = nullptr;
  grid_size.x = grid;
  const unsigned shift = how == 2 ? roll(grid) : 0;
  for (unsigned b = 0; b < grid && !wrong; ++b) {
    block_index.x = how == 1 ? grid - 1 - b : (b + shift) % grid;
    run_block(threads, how);
  }
  return wrong;
}
