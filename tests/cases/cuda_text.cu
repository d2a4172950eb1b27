// pad2
// x0 = %x f32[4, 9, 11, 3], y0 = %y f32[4, 13, 15, 3]
// map [4, 13, 15, 3]
extern "C" __global__ void __launch_bounds__(256)
map_0(const float* __restrict__ x0, float* __restrict__ y0) {
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 2340) return;
  const int i0 = p / 585, i1 = p / 45 % 13, i2 = p / 3 % 15, i3 = p % 3;
  const float v1 = within(i1 - 2, 9) && within(i2 - 2, 11) ? x0[297*i0 + 33*i1 + 3*i2 + i3 - 72] : 0.5f;
  y0[585*i0 + 45*i1 + 3*i2 + i3] = v1 + float(i2);
}

// softmax
// x0 = %x f32[13, 49], y0 = %y f32[13, 49]
// rows [13, 49], the last 1 reduced: 13 rows of 49, a warp a row
extern "C" __global__ void __launch_bounds__(256)
rows_0(const float* __restrict__ x0, float* __restrict__ y0) {
  const int r = blockIdx.x * 8 + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (r >= 13) return;
  float s0 = -INFINITE;
  for (int j = lane; j < 49; j += 32) {
    s0 = Max::join(s0, float(x0[49*r + j]));
  }
  s0 = warp_all<Max>(s0);
  float s1 = 0.0f;
  for (int j = lane; j < 49; j += 32) {
    s1 += exp_of(x0[49*r + j] - s0);
  }
  s1 = warp_all<Sum>(s1);
  for (int j = lane; j < 49; j += 32) {
    y0[49*r + j] = exp_of(x0[49*r + j] - s0) / s1;
  }
}

// cut
// x0 = %x f32[2, 9001]
// rows [2, 9001]: 2 rows of 9001 in 2 pieces of 4501, a block a piece
extern "C" __global__ void __launch_bounds__(256)
pieces_0(const float* __restrict__ x0, float* __restrict__ w0, Best<float>* __restrict__ w1, Best<float>* __restrict__ w2) {
  const int r = blockIdx.x / 2, piece = blockIdx.x % 2;
  const int from = piece * 4501, to = from + 4501 < 9001 ? from + 4501 : 9001;
  float s0 = 0.0f;
  for (int j = from + threadIdx.x; j < to; j += 256) {
    const float v1 = x0[9001*r + j];
    s0 += v1 * v1;
  }
  __shared__ __align__(16) float parts0[8];
  s0 = block_all<Sum, 8>(s0, parts0);
  if (threadIdx.x == 0) w0[blockIdx.x] = s0;
  Best<float> s1 = {-INFINITE, 2147483647};
  for (int j = from + threadIdx.x; j < to; j += 256) {
    s1 = ArgMax::join(s1, Best<float>{x0[9001*r + j], int(j)});
  }
  __shared__ __align__(16) Best<float> parts1[8];
  s1 = block_all<ArgMax, 8>(s1, parts1);
  if (threadIdx.x == 0) w1[blockIdx.x] = s1;
  Best<float> s2 = {INFINITE, 2147483647};
  for (int j = from + threadIdx.x; j < to; j += 256) {
    s2 = ArgMin::join(s2, Best<float>{x0[9001*r + j], int(j)});
  }
  __shared__ __align__(16) Best<float> parts2[8];
  s2 = block_all<ArgMin, 8>(s2, parts2);
  if (threadIdx.x == 0) w2[blockIdx.x] = s2;
}

// cut
// y0 = %y f32[2], y1 = %a i32[2], y2 = %b i32[2]
// rows [2, 9001]: joins 2 pieces of each row, a warp a row
extern "C" __global__ void __launch_bounds__(32)
join_1(float* __restrict__ w0, Best<float>* __restrict__ w1, Best<float>* __restrict__ w2, float* __restrict__ y0, int* __restrict__ y1, int* __restrict__ y2) {
  const int r = blockIdx.x, lane = threadIdx.x;
  float s0 = 0.0f;
  for (int p = lane; p < 2; p += 32) s0 = Sum::join(s0, w0[r * 2 + p]);
  s0 = warp_all<Sum>(s0);
  Best<float> s1 = {-INFINITE, 2147483647};
  for (int p = lane; p < 2; p += 32) s1 = ArgMax::join(s1, w1[r * 2 + p]);
  s1 = warp_all<ArgMax>(s1);
  const int at1 = s1.at == 2147483647 ? 0 : s1.at;
  Best<float> s2 = {INFINITE, 2147483647};
  for (int p = lane; p < 2; p += 32) s2 = ArgMin::join(s2, w2[r * 2 + p]);
  s2 = warp_all<ArgMin>(s2);
  const int at2 = s2.at == 2147483647 ? 0 : s2.at;
  if (lane != 0) return;
  {
    y0[r] = s0 / 9001.0f;
  }
  {
    y1[r] = at1;
  }
  {
    y2[r] = at2;
  }
}

// conv
// x0 = %x f32[1, 17, 15, 3], x1 = %w f32[20, 7, 7, 3], y0 = %y f32[1, 9, 8, 20]
// dot, batch: - = 1,  m: i0(1) i1(9) i2(8) = 72,  n: i3(20) = 20,  k: i4(7) i5(7) i6(3) = 147
// tile 32 x 32 x 16, 2 x 2 results a thread
extern "C" __global__ void __launch_bounds__(256, 2)
dot_0(const float* __restrict__ x0, const float* __restrict__ x1, float* __restrict__ y0) {
  __shared__ __align__(16) float a_tile[16][36];
  __shared__ __align__(16) float b_tile[16][36];
  const int t = threadIdx.x, row = t / 16, column = t % 16;
  int block = blockIdx.x;
  const int n0 = 0;
  const int m0 = block % 3 * 32;
  block /= 3;
  float acc[2][2] = {};
  float a_next[2], b_next[2];
  for (int k0 = -16; k0 < 147; k0 += 16) {
    if (k0 + 16 < 147) {
      #pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int m = m0 + (t / 16 + e * 16), k = k0 + 16 + t % 16;
        a_next[e] = 0;
        if (m < 72 && k < 147) {
          const int i1 = m / 8, i2 = m % 8;
          const int i4 = k / 21, i5 = k / 3 % 7, i6 = k % 3;
          const float v1 = within(2*i1 + i4 - 3, 17) && within(2*i2 + i5 - 3, 15) ? x0[90*i1 + 6*i2 + 45*i4 + 3*i5 + i6 - 144] : 0.0f;
          a_next[e] = v1;
        }
      }
      #pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int n = n0 + (t / 16 + e * 16), k = k0 + 16 + t % 16;
        b_next[e] = 0;
        if (n < 20 && k < 147) {
          const int i4 = k / 21, i5 = k / 3 % 7, i6 = k % 3;
          b_next[e] = x1[147*n + 21*i4 + 3*i5 + i6];
        }
      }
    }
    if (k0 >= 0) {
      #pragma unroll
      for (int kk = 0; kk < 16; ++kk) {
        float a[2], b[2];
        #pragma unroll
        for (int i = 0; i < 2; ++i) a[i] = a_tile[kk][row * 2 + i];
        #pragma unroll
        for (int j = 0; j < 2; ++j) b[j] = b_tile[kk][column + 16 * j];
        #pragma unroll
        for (int i = 0; i < 2; ++i)
        #pragma unroll
          for (int j = 0; j < 2; ++j) acc[i][j] = fmaf(a[i], b[j], acc[i][j]);
      }
    }
    __syncthreads();
    #pragma unroll
    for (int e = 0; e < 2; ++e) a_tile[t % 16][(t / 16 + e * 16)] = a_next[e];
    #pragma unroll
    for (int e = 0; e < 2; ++e) b_tile[t % 16][(t / 16 + e * 16)] = b_next[e];
    __syncthreads();
  }
  #pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int m = m0 + row * 2 + i;
    if (m >= 72) break;
    const int i1 = m / 8, i2 = m % 8;
    #pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int n = n0 + column + 16 * j;
      if (n >= 20) break;
      y0[160*i1 + 20*i2 + n] = most(acc[i][j] + float(n), 0.0f);
    }
  }
}

// mix
// x0 = %q f32[2, 3, 4], x1 = %k f32[2, 5, 4], x2 = %v f32[2, 5, 2], y0 = %y f32[2, 3, 2]
// attention, batch: i0(2),  t: i1(3),  s: i2(5),  d: i3(4),  e: i4(2)
// a block takes 16 queries and 16 features of values, 32 keys at a time
extern "C" __global__ void __launch_bounds__(256, 2)
attention_0(const float* __restrict__ x0, const float* __restrict__ x1, const float* __restrict__ x2, float* __restrict__ y0) {
  __shared__ __align__(16) float q_tile[4][20];
  __shared__ __align__(16) float k_tile[4][36];
  __shared__ __align__(16) float p_tile[32][20];
  __shared__ __align__(16) float v_tile[32][20];
  const int thread = threadIdx.x, row = thread / 16, column = thread % 16;
  int block = blockIdx.x;
  const int e0 = 0;
  const int t0 = 0;
  float mixed[1][1] = {}, greatest[1], total[1] = {};
  for (int i = 0; i < 1; ++i) greatest[i] = -INFINITE;
  const int d0 = 0;
  for (int at = thread; at < 64; at += 256) {
    const int d = d0 + at % 4, t = t0 + at / 4;
    float read = 0.0f;
    if (d < 4 && t < 3) {
      read = x0[12*block + 4*t + d];
    }
    q_tile[at % 4][at / 4] = read;
  }
  for (int s0 = 0; s0 < 5; s0 += 32) {
    float score[1][2] = {};
    for (int at = thread; at < 128; at += 256) {
      const int d = d0 + at % 4, s = s0 + at / 4;
      float read = 0.0f;
      if (d < 4 && s < 5) {
        read = x1[20*block + 4*s + d];
      }
      k_tile[at % 4][at / 4] = read;
    }
    __syncthreads();
    #pragma unroll 8
    for (int dd = 0; dd < 4; ++dd)
    #pragma unroll
      for (int i = 0; i < 1; ++i)
    #pragma unroll
        for (int j = 0; j < 2; ++j)
          score[i][j] = fmaf(q_tile[dd][row], k_tile[dd][column + 16 * j], score[i][j]);
    #pragma unroll
    for (int i = 0; i < 1; ++i) {
      const int t = t0 + row;
      float most_here = -INFINITE;
      #pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int s = s0 + column + 16 * j;
        float here = -INFINITE;
        if (t < 3 && s < 5) {
          here = (t == s) ? (-INFINITE) : (score[i][j] * 0.5f);
        }
        score[i][j] = here;
        most_here = most(most_here, here);
      }
      #pragma unroll
      for (int by = 8; by > 0; by >>= 1) most_here = most(most_here, lane_xor(most_here, by));
      const float now = most(greatest[i], most_here);
      // Nothing but -inf so far: weights are 0, not NaN.
      const float base = now == -INFINITE ? 0.0f : now;
      const float before = exp_of(greatest[i] - base);
      greatest[i] = now;
      float sum = 0.0f;
      #pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float weight = exp_of(score[i][j] - base);
        p_tile[column + 16 * j][row] = weight;
        sum += weight;
      }
      #pragma unroll
      for (int by = 8; by > 0; by >>= 1) sum += lane_xor(sum, by);
      total[i] = fmaf(total[i], before, sum);
      #pragma unroll
      for (int j = 0; j < 1; ++j) mixed[i][j] *= before;
    }
    for (int at = thread; at < 512; at += 256) {
      const int s = s0 + at / 16, e = e0 + at % 16;
      float read = 0.0f;
      if (s < 5 && e < 2) {
        read = x2[10*block + 2*s + e];
      }
      v_tile[at / 16][at % 16] = read;
    }
    __syncthreads();
    #pragma unroll 8
    for (int ss = 0; ss < 32; ++ss)
    #pragma unroll
      for (int i = 0; i < 1; ++i)
    #pragma unroll
        for (int j = 0; j < 1; ++j)
          mixed[i][j] = fmaf(p_tile[ss][row], v_tile[ss][column + 16 * j], mixed[i][j]);
    __syncthreads();
  }
  #pragma unroll
  for (int i = 0; i < 1; ++i) {
    const int t = t0 + row;
    if (t >= 3) break;
    #pragma unroll
    for (int j = 0; j < 1; ++j) {
      const int e = e0 + column + 16 * j;
      if (e >= 2) break;
      const float value = mixed[i][j] / total[i];
      y0[6*block + 2*t + e] = -value;
    }
  }
}

// add
// x0 = %x0 f32[97], x1 = %x1 f32[97], y0 = %y f32[97]
// map [97]
extern "C" __global__ void __launch_bounds__(256)
map_0(const float* __restrict__ x0, const float* __restrict__ x1, float* __restrict__ y0) {
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 97) return;
  y0[p] = x0[p] + x1[p];
}

// sort
// x0 = %x f32[2, 5000]
// argsort [2, 5000], rising: runs of 2048, then merged
extern "C" __global__ void __launch_bounds__(256)
runs_0(const float* __restrict__ x0, unsigned long long* __restrict__ sorted) {
  __shared__ __align__(16) unsigned long long keys[2048];
  const int r = blockIdx.x / 3, from = blockIdx.x % 3 * 2048;
  for (int at = threadIdx.x; at < 2048; at += 256) {
    const int j = from + at;
    unsigned long long made = 0xffffffffffffffffull;
    if (j < 5000) {
      made = (unsigned long long)sort_key(x0[5000*r + j], false) << 32 | (unsigned)j;
    }
    keys[at] = made;
  }
  block_sort<2048, 256>(keys);
  for (int at = threadIdx.x; at < 2048; at += 256) {
    const int j = from + at;
    if (j < 5000) {
      sorted[(long long)r * 5000 + j] = keys[at];
    }
  }
}

// sort
// merges sorted runs of 2048 keys in rows of 5000: each key finds its place among the other run's
extern "C" __global__ void __launch_bounds__(256)
merge_1(const unsigned long long* __restrict__ from, unsigned long long* __restrict__ to) {
  const long long p = (long long)blockIdx.x * 256 + threadIdx.x;
  if (p >= 10000) return;
  const long long row = p / 5000 * 5000;
  const int j = int(p % 5000), pair = j / 4096 * 4096, middle = pair + 2048;
  const int other = j < middle ? middle : pair;
  const int end = j < middle ? (middle + 2048 < 5000 ? middle + 2048 : 5000) : middle;
  const unsigned long long key = from[p];
  const int before = other < end ? rank_among(from + row + other, end - other, key) : 0;
  const int own = j < middle ? j - pair : j - middle;
  to[row + pair + own + before] = key;
}

// sort
// merges sorted runs of 4096 keys in rows of 5000: each key finds its place among the other run's
extern "C" __global__ void __launch_bounds__(256)
merge_2(const unsigned long long* __restrict__ from, unsigned long long* __restrict__ to) {
  const long long p = (long long)blockIdx.x * 256 + threadIdx.x;
  if (p >= 10000) return;
  const long long row = p / 5000 * 5000;
  const int j = int(p % 5000), pair = j / 8192 * 8192, middle = pair + 4096;
  const int other = j < middle ? middle : pair;
  const int end = j < middle ? (middle + 4096 < 5000 ? middle + 4096 : 5000) : middle;
  const unsigned long long key = from[p];
  const int before = other < end ? rank_among(from + row + other, end - other, key) : 0;
  const int own = j < middle ? j - pair : j - middle;
  to[row + pair + own + before] = key;
}

// sort
// y0 = %y i32[2, 5000]
// argsort [2, 5000]: positions of the sorted keys
extern "C" __global__ void __launch_bounds__(256)
positions_3(unsigned long long* __restrict__ sorted, int* __restrict__ y0) {
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 10000) return;
  const int i0 = p / 5000, i1 = p % 5000;
  y0[5000*i0 + i1] = int((unsigned)sorted[p]);
}

// outer
// carries 2 elements
extern "C" __global__ void __launch_bounds__(256)
copy_0(const int* __restrict__ from, int* __restrict__ to) {
  const long long p = (long long)blockIdx.x * 256 + threadIdx.x;
  if (p < 2) to[p] = from[p];
}

// outer
extern "C" __global__ void __launch_bounds__(1)
begin_1(int* __restrict__ flag) {
  *flag = 0;
}

// outer, and 1 more
extern "C" __global__ void __launch_bounds__(1)
round_2(int* __restrict__ index, int round, const int* __restrict__ stop) {
  if (*stop != 0) return;
  *index = round;
}

// inner, and 2 more
// carries 2 elements
extern "C" __global__ void __launch_bounds__(256)
copy_3(const int* __restrict__ from, int* __restrict__ to, const int* __restrict__ stop) {
  if (*stop != 0) return;
  const long long p = (long long)blockIdx.x * 256 + threadIdx.x;
  if (p < 2) to[p] = from[p];
}

// inner
extern "C" __global__ void __launch_bounds__(1)
begin_4(int* __restrict__ flag, const int* __restrict__ around) {
  *flag = *around;
}

// add
// x0 = %z f32[2], y0 = %m f32[2]
// map [2]
extern "C" __global__ void __launch_bounds__(256)
map_5(const float* __restrict__ x0, float* __restrict__ y0, const int* __restrict__ stop) {
  if (*stop != 0) return;
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 2) return;
  y0[p] = x0[p] + 1.0f;
}

// done
// x0 = %j i32[], x1 = %i i32[], y0 = %done bool[]
// map []
extern "C" __global__ void __launch_bounds__(256)
map_6(const int* __restrict__ x0, const int* __restrict__ x1, unsigned char* __restrict__ y0, const int* __restrict__ stop) {
  if (*stop != 0) return;
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 1) return;
  y0[0] = x1[0] <= x0[0];
}

// done, and 1 more
extern "C" __global__ void __launch_bounds__(1)
until_7(int* __restrict__ flag, const unsigned char* __restrict__ until, int every, int round) {
  if ((round + 1) % every == 0 && *until != 0) *flag = 1;
}

// next
// x0 = %z f32[2], y0 = %n f32[2]
// map [2]
extern "C" __global__ void __launch_bounds__(256)
map_8(const float* __restrict__ x0, float* __restrict__ y0, const int* __restrict__ stop) {
  if (*stop != 0) return;
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 2) return;
  y0[p] = x0[p];
}

// end
// x0 = %i i32[], y0 = %out bool[]
// map []
extern "C" __global__ void __launch_bounds__(256)
map_9(const int* __restrict__ x0, unsigned char* __restrict__ y0, const int* __restrict__ stop) {
  if (*stop != 0) return;
  const int p = blockIdx.x * 256 + threadIdx.x;
  if (p >= 1) return;
  y0[0] = 3 <= x0[0];
}

