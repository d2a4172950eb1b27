//- INFINITE NOT_A_NUMBER
#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fc00000)

//- within
// 0 <= v < n in one comparison.
__device__ __forceinline__ bool within(int v, int n) { return (unsigned)v < (unsigned)n; }
__device__ __forceinline__ bool within(long long v, long long n) { return (unsigned long long)v < (unsigned long long)n; }

//- clamp_index
// An index from data, held to 0..top.
__device__ __forceinline__ int clamp_index(int v, int top) { return v < 0 ? 0 : v > top ? top : v; }

//- wrap_add
__device__ __forceinline__ int wrap_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }

//- wrap_sub
__device__ __forceinline__ int wrap_sub(int a, int b) { return (int)((unsigned)a - (unsigned)b); }

//- wrap_mul
__device__ __forceinline__ int wrap_mul(int a, int b) { return (int)((unsigned)a * (unsigned)b); }

//- wrap_abs
__device__ __forceinline__ int wrap_abs(int a) { return a < 0 ? (int)(0u - (unsigned)a) : a; }

//- floor_div
// Rounded towards minus infinity; 0 where the divisor is 0.
__device__ __forceinline__ int floor_div(int a, int b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_sub(0, a);
  const int q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

//- floor_rem
// Has the sign of the divisor; of integers 0 where the divisor is 0.
__device__ __forceinline__ int floor_rem(int a, int b) {
  if (b == 0 || b == -1) return 0;
  const int r = a % b;
  return (r != 0 && (r < 0) != (b < 0)) ? r + b : r;
}
__device__ __forceinline__ float floor_rem(float a, float b) { return a - b * floorf(a / b); }

//- least
// NaN if either is NaN.
template <class T> __device__ __forceinline__ T least(T a, T b) { return b < a || b != b ? b : a; }

//- most
// NaN if either is NaN.
template <class T> __device__ __forceinline__ T most(T a, T b) { return b > a || b != b ? b : a; }

//- shift_up
__device__ __forceinline__ int shift_up(int a, int n) { return (int)((unsigned)a << (n & 31)); }

//- shift_down
__device__ __forceinline__ int shift_down(int a, int n) { return (int)((unsigned)a >> (n & 31)); }

//- exp_of
// The polynomials are those of the CPU's microkernels, operation by operation.
__device__ __forceinline__ float exp_of(float x) {
  // Beyond these bounds the result is 0 or infinite; NaN stays.
  x = x < -105.0f ? -105.0f : x > 89.0f ? 89.0f : x;
  const float n = rintf(x * 1.44269504f);
  float r = fmaf(-n, 0.6933594f, x);
  r = fmaf(-n, -2.1219444e-4f, r);
  float p = 1.9875691e-4f;
  p = fmaf(p, r, 1.3981999e-3f);
  p = fmaf(p, r, 8.333452e-3f);
  p = fmaf(p, r, 4.1665796e-2f);
  p = fmaf(p, r, 0.16666665f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(r * r, p, r) + 1.0f;
  // 2^n in two factors, so that results near the ends of the range round once.
  const int whole = __float2int_rz(n), half = whole >> 1, rest = whole - half;
  return p * __int_as_float((half + 127) << 23) * __int_as_float((rest + 127) << 23);
}

//- log_of
__device__ __forceinline__ float log_of(float x) {
  // Denormals are scaled by 2^25 first.
  const bool small = x < 1.17549435e-38f;
  const int bits = __float_as_int(small ? x * 33554432.0f : x);
  // Mantissa in [sqrt(1/2), sqrt(2)).
  const int k = (bits - 0x3f3504f3) >> 23;
  const float e = (float)k + (small ? -25.0f : 0.0f);
  const float f = __int_as_float((int)((unsigned)bits - ((unsigned)k << 23))) - 1.0f;
  float p = 7.0376836e-2f;
  p = fmaf(p, f, -0.1151461f);
  p = fmaf(p, f, 0.11676998f);
  p = fmaf(p, f, -0.12420141f);
  p = fmaf(p, f, 0.14249323f);
  p = fmaf(p, f, -0.16668058f);
  p = fmaf(p, f, 0.20000715f);
  p = fmaf(p, f, -0.24999994f);
  p = fmaf(p, f, 0.3333333f);
  const float z = f * f;
  float y = (f * z) * p;
  y = fmaf(e, -2.1219444e-4f, y);
  y = fmaf(-0.5f, z, y);
  y = fmaf(e, 0.6933594f, f + y);
  if (x == 0.0f) return -INFINITE;
  if (x < 0.0f) return NOT_A_NUMBER;
  // Infinity and NaN are their own logarithms.
  return x < INFINITE ? y : x;
}

//- TWO_OVER_PI large_angle
// The bits of 2/pi.
__device__ const unsigned TWO_OVER_PI[7] = {0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u, 0x7f9458eau};
// A finite angle of more than 1, less the nearest multiple of pi/2, and which multiple: the product with 2/pi in whole
// numbers, of which two bits stand before the point. In f64 it would take the stack, and far more instructions.
__device__ __forceinline__ float large_angle(float x, int& quarters) {
  const unsigned bits = (unsigned)__float_as_int(fabsf(x)), fraction = bits << 8 | 0x80000000u;
  const int exponent = (int)(bits >> 23) - 126, word = exponent >> 5, by = exponent & 31;
  const unsigned long long first = word == 0 ? 0 : TWO_OVER_PI[word - 1], second = TWO_OVER_PI[word];
  const unsigned long long third = TWO_OVER_PI[word + 1], fourth = TWO_OVER_PI[word + 2];
  const unsigned high = (unsigned)((first << 32 | second) << by >> 32), middle = (unsigned)((second << 32 | third) << by >> 32);
  const unsigned low = (unsigned)((third << 32 | fourth) << by >> 32);
  unsigned long long p = (unsigned long long)fraction * middle + ((unsigned long long)fraction * low >> 32);
  p += (unsigned long long)(fraction * high) << 32;
  // To the nearest multiple.
  const long long rest = (long long)(p << 2) >> 2;
  const int n = (int)(p >> 62) + (rest < 0 ? 1 : 0);
  const float r = (float)rest * 3.4061216e-19f;
  quarters = x < 0.0f ? -n : n;
  return x < 0.0f ? -r : r;
}

//- circle
// Sine (quarter 0) or cosine (quarter 1).
__device__ __forceinline__ float circle(float x, int quarter) {
  float r;
  int turned;
  if (fabsf(x) > 8192.0f) {
    if (fabsf(x) == INFINITE) return NOT_A_NUMBER;
    r = large_angle(x, turned);
  } else {
    const float n = rintf(x * 0.63661977f);
    // pi/2 in parts whose products with n are exact.
    r = fmaf(-n, 1.5703125f, x);
    r = fmaf(-n, 4.837513e-4f, r);
    r = fmaf(-n, 7.54979e-8f, r);
    turned = __float2int_rz(n);
  }
  const float z = r * r;
  float s = -1.9515296e-4f;
  s = fmaf(s, z, 8.332161e-3f);
  s = fmaf(s, z, -0.16666655f);
  s = fmaf(s * z, r, r);
  float c = 2.4433157e-5f;
  c = fmaf(c, z, -1.3887316e-3f);
  c = fmaf(c, z, 4.1666646e-2f);
  c = fmaf(c * z, z, fmaf(-0.5f, z, 1.0f));
  const int q = turned + quarter;
  const float v = (q & 1) == 0 ? s : c;
  return __int_as_float(__float_as_int(v) ^ ((q & 2) << 30));
}

//- sin_of
__device__ __forceinline__ float sin_of(float x) { return circle(x, 0); }

//- cos_of
__device__ __forceinline__ float cos_of(float x) { return circle(x, 1); }

//- tanh_of
__device__ __forceinline__ float tanh_of(float x) {
  const float a = fabsf(x), z = x * x;
  float p = -5.7049887e-3f;
  p = fmaf(p, z, 2.063909e-2f);
  p = fmaf(p, z, -5.3739716e-2f);
  p = fmaf(p, z, 0.1333142f);
  p = fmaf(p, z, -0.3333328f);
  const float near = fmaf(p * z, x, x);
  const float far = copysignf(1.0f - 2.0f / (exp_of(a + a) + 1.0f), x);
  return a < 0.625f ? near : far;
}

//- erf_of
__device__ __forceinline__ float erf_of(float x) {
  // Beyond 4 the result is 1; NaN stays.
  const float size = fabsf(x), a = size > 4.0f ? 4.0f : size, s = a * a;
  float r = fmaf(-1.7285347e-5f, a, 3.8319713e-4f);
  r = fmaf(r, s, fmaf(-3.8839644e-3f, a, 2.4254622e-2f));
  r = fmaf(r, a, -1.0677788e-1f);
  r = fmaf(r, a, -6.348467e-1f);
  r = fmaf(r, a, -1.2871751e-1f);
  r = fmaf(-1.0f, a, r * a);
  const float far = copysignf(1.0f - exp_of(r), x);
  float p = -5.967617e-4f;
  p = fmaf(p, s, 4.9911942e-3f);
  p = fmaf(p, s, -2.6768135e-2f);
  p = fmaf(p, s, 1.1281993e-1f);
  p = fmaf(p, s, -3.7612534e-1f);
  p = fmaf(p, s, 1.2837917e-1f);
  const float near = fmaf(p, x, x);
  return a <= 0.9277344f ? near : far;
}

//- Draw
// What draws depend on: the folded seed, the step, the number of the first sample.
struct Draw { unsigned seed, step, sample; };

//- draw_uniform
// Philox4x32-10: 24 bits of word element % 4 of the block (element / 4, sample, step, lane) under (seed, site).
__device__ __forceinline__ float draw_uniform(const Draw* draw, unsigned site, unsigned lane, int element, int sample) {
  unsigned c0 = (unsigned)element / 4, c1 = draw->sample + (unsigned)sample, c2 = draw->step, c3 = lane;
  unsigned k0 = draw->seed, k1 = site;
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const int word = element & 3;
  const unsigned bits = word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
  return (float)(bits >> 8) * 5.9604645e-8f;
}

//- Best
// A value with its position.
template <class T> struct Best { T value; int at; };

//- lane_xor
template <class T> __device__ __forceinline__ T lane_xor(T v, int by) { return __shfl_xor_sync(0xffffffffu, v, by); }
__device__ __forceinline__ bool lane_xor(bool v, int by) { return __shfl_xor_sync(0xffffffffu, (int)v, by) != 0; }
template <class T> __device__ __forceinline__ Best<T> lane_xor(Best<T> v, int by) {
  return Best<T>{lane_xor(v.value, by), lane_xor(v.at, by)};
}

//- Sum
struct Sum {
  static __device__ __forceinline__ float join(float a, float b) { return a + b; }
  static __device__ __forceinline__ int join(int a, int b) { return wrap_add(a, b); }
};

//- Prod
struct Prod {
  static __device__ __forceinline__ float join(float a, float b) { return a * b; }
  static __device__ __forceinline__ int join(int a, int b) { return wrap_mul(a, b); }
};

//- Max
struct Max {
  template <class T> static __device__ __forceinline__ T join(T a, T b) { return most(a, b); }
};

//- Min
struct Min {
  template <class T> static __device__ __forceinline__ T join(T a, T b) { return least(a, b); }
};

//- ArgMax
// The first NaN, else the first of the largest. A position of 0x7fffffff is that of nothing.
struct ArgMax {
  template <class T> static __device__ __forceinline__ Best<T> join(Best<T> a, Best<T> b) {
    if (a.at == 0x7fffffff) return b;
    if (b.at == 0x7fffffff) return a;
    const bool none_a = a.value != a.value, none_b = b.value != b.value;
    if (none_a != none_b) return none_a ? a : b;
    if (!none_a && a.value != b.value) return a.value > b.value ? a : b;
    return a.at < b.at ? a : b;
  }
};

//- ArgMin
// The first NaN, else the first of the smallest. A position of 0x7fffffff is that of nothing.
struct ArgMin {
  template <class T> static __device__ __forceinline__ Best<T> join(Best<T> a, Best<T> b) {
    if (a.at == 0x7fffffff) return b;
    if (b.at == 0x7fffffff) return a;
    const bool none_a = a.value != a.value, none_b = b.value != b.value;
    if (none_a != none_b) return none_a ? a : b;
    if (!none_a && a.value != b.value) return a.value < b.value ? a : b;
    return a.at < b.at ? a : b;
  }
};

//- warp_all
// The reduction over the 32 lanes, in a fixed order; every lane gets it.
template <class Op, class T> __device__ __forceinline__ T warp_all(T v) {
#pragma unroll
  for (int by = 16; by > 0; by >>= 1) v = Op::join(v, lane_xor(v, by));
  return v;
}

//- block_all
// The reduction over a block of Warps warps, in a fixed order; every thread gets it.
template <class Op, int Warps, class T> __device__ __forceinline__ T block_all(T v, T* parts) {
  v = warp_all<Op>(v);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  v = parts[0];
#pragma unroll
  for (int w = 1; w < Warps; ++w) v = Op::join(v, parts[w]);
  __syncthreads();
  return v;
}

//- lane_up
template <class T> __device__ __forceinline__ T lane_up(T v, int by) { return __shfl_up_sync(0xffffffffu, v, by); }
__device__ __forceinline__ bool lane_up(bool v, int by) { return __shfl_up_sync(0xffffffffu, (int)v, by) != 0; }

//- lane_at
template <class T> __device__ __forceinline__ T lane_at(T v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
__device__ __forceinline__ bool lane_at(bool v, int lane) { return __shfl_sync(0xffffffffu, (int)v, lane) != 0; }

//- warp_scan
// The running reduction over the lanes.
template <class Op, class T> __device__ __forceinline__ T warp_scan(T v) {
#pragma unroll
  for (int by = 1; by < 32; by <<= 1) {
    const T before = lane_up(v, by);
    if (threadIdx.x % 32 >= by) v = Op::join(before, v);
  }
  return v;
}

//- sort_key
// Bits that sort as unsigned numbers: NaN last in either order, both zeros alike.
__device__ __forceinline__ unsigned sort_key(float v, bool falling) {
  if (v != v) return 0xffffffffu;
  const unsigned bits = (unsigned)__float_as_int(v == 0.0f ? 0.0f : v);
  const unsigned rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return falling ? ~rising : rising;
}
__device__ __forceinline__ unsigned sort_key(int v, bool falling) {
  const unsigned rising = (unsigned)v ^ 0x80000000u;
  return falling ? ~rising : rising;
}
__device__ __forceinline__ unsigned sort_key(bool v, bool falling) { return v != falling ? 1u : 0u; }

//- block_sort
// Sorts N keys in shared memory (N a power of two) with all threads of the block: a bitonic network.
template <int N, int Threads> __device__ __forceinline__ void block_sort(unsigned long long* keys) {
  for (int size = 2; size <= N; size <<= 1) {
    for (int by = size >> 1; by > 0; by >>= 1) {
      __syncthreads();
      for (int t = threadIdx.x; t < N / 2; t += Threads) {
        const int low = t / by * (2 * by) + t % by, high = low + by;
        const unsigned long long a = keys[low], b = keys[high];
        if ((a > b) == ((low & size) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

//- rank_among
// How many of the n sorted keys are smaller; all keys differ.
__device__ __forceinline__ int rank_among(const unsigned long long* keys, int n, unsigned long long key) {
  int low = 0;
  while (n > 0) {
    const int half = n / 2;
    if (keys[low + half] < key) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

//- to_tf32 to_bf16 to_f16 pair_of mma_tf32 mma_bf16 mma_f16
// Tensor cores. The emulation has its own, which say the same in C++.
#ifndef EMULATED
// The nearest number of a precision, as its bits.
__device__ __forceinline__ unsigned to_tf32(float v) { unsigned w; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(w) : "f"(v)); return w; }
__device__ __forceinline__ unsigned short to_bf16(float v) { unsigned short w; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(w) : "f"(v)); return w; }
__device__ __forceinline__ unsigned short to_f16(float v) { unsigned short w; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(w) : "f"(v)); return w; }

// A warp's product of a, 16 x 8 words, and b, 8 x 8 words, added to c, 16 x 8. Of lane 4 g + q:
// a: words q and q + 4 of rows g and g + 8; b: words q and q + 4 of column g; c: columns 2 q and 2 q + 1 of rows g and g + 8.
#define MMA(name, shape, kind) \
  __device__ __forceinline__ void name(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { \
    asm("mma.sync.aligned." shape ".row.col.f32." kind "." kind ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])); \
  }
MMA(mma_tf32, "m16n8k8", "tf32")
MMA(mma_bf16, "m16n8k16", "bf16")
MMA(mma_f16, "m16n8k16", "f16")
#endif
// Two neighbours along the sum as a word.
__device__ __forceinline__ unsigned pair_of(const unsigned short (&v)[2]) { return *(const unsigned*)v; }
__device__ __forceinline__ unsigned pair_of(unsigned short first, unsigned short second) { return first | (unsigned)second << 16; }
