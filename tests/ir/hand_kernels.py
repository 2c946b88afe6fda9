"""Kernels written by hand, of the classes that models need, for CPU and GPU: text by name."""

from warploom.ir.text import parse_program

TEXTS = {
    "matmul_lanes": """
def matmul_lanes(M: dim, N: dim, K: dim, A: f32[M, K], B: f32[K, N], C: f32[M, N]):
    for io in block((M + 31) // 32):
        for jo in block((N + 31) // 32):
            acc: local.f32[[8, 8], 4, 4]
            for i in lanes(8):
                for j in lanes(8):
                    for u in unroll(4):
                        for v in unroll(4):
                            acc[i, j, u, v] = 0.0
            for ko in serial((K + 7) // 8):
                As: shared.f32[32, 8]
                Bs: shared.f32[8, 32]
                for a in lanes(32):
                    for b in lanes(8):
                        As[a, b] = select(io * 32 + a < M and ko * 8 + b < K, A[io * 32 + a, ko * 8 + b], 0.0)
                for a in lanes(8):
                    for b in lanes(32):
                        Bs[a, b] = select(ko * 8 + a < K and jo * 32 + b < N, B[ko * 8 + a, jo * 32 + b], 0.0)
                for i in lanes(8):
                    for j in lanes(8):
                        for k in unroll(8):
                            for u in unroll(4):
                                for v in unroll(4):
                                    acc[i, j, u, v] += As[i * 4 + u, k] * Bs[k, v * 8 + j]
            for i in lanes(8):
                for j in lanes(8):
                    for u in unroll(4):
                        for v in unroll(4):
                            if io * 32 + i * 4 + u < M and jo * 32 + v * 8 + j < N:
                                C[io * 32 + i * 4 + u, jo * 32 + v * 8 + j] = acc[i, j, u, v]
""",
    "softmax_vector": """
def softmax_vector(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in block(M):
        m: local.f32[1]
        s: local.f32[1]
        pm: local.f32[16]
        ps: local.f32[16]
        m[0] = -inf
        s[0] = 0.0
        for j in vector(16):
            pm[j] = -inf
            ps[j] = 0.0
        for jo in serial((N + 15) // 16):
            for j in vector(16):
                if jo * 16 + j < N:
                    reduce(lse, (pm[j], ps[j]), (x[i, jo * 16 + j], 1.0))
        for j in vector(16):
            reduce(lse, (m[0], s[0]), (pm[j], ps[j]))
        for jo in serial((N + 15) // 16):
            for j in vector(16):
                if jo * 16 + j < N:
                    y[i, jo * 16 + j] = exp(x[i, jo * 16 + j] - m[0]) / s[0]
""",
    "softmax_lanes": """
def softmax_lanes(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in block(M):
        m: shared.f32[1]
        s: shared.f32[1]
        pm: local.f32[[64]]
        ps: local.f32[[64]]
        m[0] = -inf
        s[0] = 0.0
        for t in lanes(64):
            pm[t] = -inf
            ps[t] = 0.0
            for jo in serial((N + 63) // 64):
                if jo * 64 + t < N:
                    reduce(lse, (pm[t], ps[t]), (x[i, jo * 64 + t], 1.0))
        for t in lanes(64):
            reduce(lse, (m[0], s[0]), (pm[t], ps[t]))
        for j in lanes(N):
            y[i, j] = exp(x[i, j] - m[0]) / s[0]
""",
    "layernorm_lanes": """
def layernorm_lanes(M: dim, N: dim, x: f32[M, N], g: f32[N], b: f32[N], y: f32[M, N]):
    for i in block(M):
        c: shared.f32[1]
        mu: shared.f32[1]
        q: shared.f32[1]
        pc: local.f32[[64]]
        pm: local.f32[[64]]
        pq: local.f32[[64]]
        c[0] = 0.0
        mu[0] = 0.0
        q[0] = 0.0
        for t in lanes(64):
            pc[t] = 0.0
            pm[t] = 0.0
            pq[t] = 0.0
            for jo in serial((N + 63) // 64):
                if jo * 64 + t < N:
                    reduce(welford, (pc[t], pm[t], pq[t]), (1.0, x[i, jo * 64 + t], 0.0))
        for t in lanes(64):
            reduce(welford, (c[0], mu[0], q[0]), (pc[t], pm[t], pq[t]))
        for j in lanes(N):
            y[i, j] = (x[i, j] - mu[0]) / sqrt(q[0] / f32(N) + 1e-05) * g[j] + b[j]
""",
    "argmax_middle": """
def argmax_middle(A: dim, R: dim, B: dim, x: f32[A, R, B], y: i64[A, B]):
    for a in block(A):
        for bo in block((B + 15) // 16):
            v: local.f32[16]
            ix: local.i64[16]
            for b in vector(16):
                v[b] = -inf
                ix[b] = inf
            for k in serial(R):
                for b in vector(16):
                    if bo * 16 + b < B:
                        reduce(argmax, (v[b], ix[b]), (x[a, k, bo * 16 + b], k))
            for b in vector(16):
                if bo * 16 + b < B:
                    y[a, bo * 16 + b] = ix[b]
""",
    "cumsum_lanes": """
def cumsum_lanes(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in block(M):
        s: shared.f32[1]
        s[0] = 0.0
        for jo in serial((N + 63) // 64):
            for j in lanes(64):
                if jo * 64 + j < N:
                    y[i, jo * 64 + j] = scan(add, s[0], x[i, jo * 64 + j])
""",
    "maxpool": """
def maxpool(N: dim, H: dim, W: dim, x: f32[N, H, W], y: f32[N, (H - 1) // 2 + 1, (W - 1) // 2 + 1]):
    for n in block(N):
        for oh in block((H - 1) // 2 + 1):
            for wo in block(((W - 1) // 2 + 16) // 16):
                acc: local.f32[16]
                for ow in vector(16):
                    acc[ow] = -inf
                for p in serial(max(0, 1 - oh * 2), min(3, H + 1 - oh * 2)):
                    for q in unroll(3):
                        for ow in vector(16):
                            reduce(max, acc[ow], select((wo * 16 + ow) * 2 + q - 1 >= 0 and (wo * 16 + ow) * 2 + q - 1 < W, x[n, oh * 2 + p - 1, (wo * 16 + ow) * 2 + q - 1], -inf))
                for ow in vector(16):
                    if wo * 16 + ow < (W - 1) // 2 + 1:
                        y[n, oh, wo * 16 + ow] = acc[ow]
""",
    "conv_direct": """
def conv_direct(N: dim, C: dim, O: dim, H: dim, W: dim, x: f32[N, C, H, W], w: f32[O, C, 3, 3], b: f32[O], y: f32[N, O, H, W]):
    for n in block(N):
        for oo in block((O + 3) // 4):
            for h in block(H):
                for wo in serial((W + 15) // 16):
                    acc: local.f32[4, 16]
                    for o in unroll(4):
                        for v in vector(16):
                            acc[o, v] = b[min(oo * 4 + o, O - 1)]
                    for c in serial(C):
                        for p in serial(max(0, 1 - h), min(3, H + 1 - h)):
                            for q in unroll(3):
                                for o in unroll(4):
                                    for v in vector(16):
                                        acc[o, v] += w[min(oo * 4 + o, O - 1), c, p, q] * select(wo * 16 + v + q - 1 >= 0 and wo * 16 + v + q - 1 < W, x[n, c, h + p - 1, wo * 16 + v + q - 1], 0.0)
                    for o in unroll(4):
                        if oo * 4 + o < O:
                            for v in vector(16):
                                if wo * 16 + v < W:
                                    y[n, oo * 4 + o, h, wo * 16 + v] = max(acc[o, v], 0.0)
""",
    "conv_implicit": """
def conv_implicit(N: dim, C: dim, O: dim, H: dim, W: dim, x: f32[N, C, H, W], w: f32[O, C, 3, 3], b: f32[O], y: f32[N, O, H, W]):
    for mo in block((N * H * W + 15) // 16):
        for oo in block((O + 15) // 16):
            acc: local.f32[[16, 16]]
            for m in lanes(16):
                for o in lanes(16):
                    acc[m, o] = 0.0
            for ko in serial((C * 9 + 7) // 8):
                Xs: shared.f32[16, 8]
                Ws: shared.f32[16, 8]
                for m in lanes(16):
                    for k in lanes(8):
                        Xs[m, k] = select(mo * 16 + m < N * H * W and ko * 8 + k < C * 9 and (mo * 16 + m) // W % H + (ko * 8 + k) // 3 % 3 >= 1 and (mo * 16 + m) // W % H + (ko * 8 + k) // 3 % 3 - 1 < H and (mo * 16 + m) % W + (ko * 8 + k) % 3 >= 1 and (mo * 16 + m) % W + (ko * 8 + k) % 3 - 1 < W, x[(mo * 16 + m) // (H * W), (ko * 8 + k) // 9, (mo * 16 + m) // W % H + (ko * 8 + k) // 3 % 3 - 1, (mo * 16 + m) % W + (ko * 8 + k) % 3 - 1], 0.0)
                for o in lanes(16):
                    for k in lanes(8):
                        Ws[o, k] = select(oo * 16 + o < O and ko * 8 + k < C * 9, w[oo * 16 + o, (ko * 8 + k) // 9, (ko * 8 + k) // 3 % 3, (ko * 8 + k) % 3], 0.0)
                for m in lanes(16):
                    for o in lanes(16):
                        for k in unroll(8):
                            acc[m, o] += Xs[m, k] * Ws[o, k]
            for m in lanes(16):
                for o in lanes(16):
                    if mo * 16 + m < N * H * W and oo * 16 + o < O:
                        y[(mo * 16 + m) // (H * W), oo * 16 + o, (mo * 16 + m) // W % H, (mo * 16 + m) % W] = max(acc[m, o] + b[oo * 16 + o], 0.0)
""",
    "triangular_matmul": """
def triangular_matmul(M: dim, N: dim, A: f32[M, M], B: f32[M, N], C: f32[M, N]):
    for i in block(M):
        for jo in block((N + 15) // 16):
            acc: local.f32[16]
            for j in vector(16):
                acc[j] = 0.0
            for k in serial(i + 1):
                for j in vector(16):
                    if jo * 16 + j < N:
                        acc[j] += A[i, k] * B[k, jo * 16 + j]
            for j in vector(16):
                if jo * 16 + j < N:
                    C[i, jo * 16 + j] = acc[j]
""",
    "flash_attention": """
def flash_attention(S: dim, q: f32[S, 16], k: f32[S, 16], v: f32[S, 16], o: f32[S, 16]):
    for io in block((S + 31) // 32):
        Q: shared.f32[32, 16]
        m: local.f32[[32, 2]]
        l: local.f32[[32, 2]]
        acc: local.f32[[32, 2], 8]
        for i in lanes(32):
            for d in lanes(16):
                Q[i, d] = q[min(io * 32 + i, S - 1), d]
        for i in lanes(32):
            for h in lanes(2):
                m[i, h] = -inf
                l[i, h] = 0.0
                for d in unroll(8):
                    acc[i, h, d] = 0.0
        for jo in serial(io * 2 + 2):
            Ks: shared.f32[16, 16]
            Vs: shared.f32[16, 16]
            P: shared.f32[32, 16]
            for j in lanes(16):
                for d in lanes(16):
                    Ks[j, d] = k[min(jo * 16 + j, S - 1), d]
                    Vs[j, d] = v[min(jo * 16 + j, S - 1), d]
            for i in lanes(32):
                for j in lanes(16):
                    a: local.f32[1]
                    a[0] = 0.0
                    for d in unroll(16):
                        a[0] += Q[i, d] * Ks[j, d]
                    P[i, j] = select(jo * 16 + j <= io * 32 + i and jo * 16 + j < S, a[0], -inf)
            for i in lanes(32):
                for h in lanes(2):
                    n: local.f32[1]
                    n[0] = m[i, h]
                    for j in serial(16):
                        reduce(max, n[0], P[i, j])
                    l[i, h] = l[i, h] * exp(m[i, h] - n[0])
                    for d in unroll(8):
                        acc[i, h, d] = acc[i, h, d] * exp(m[i, h] - n[0])
                    m[i, h] = n[0]
                    for j in serial(16):
                        p: local.f32[1]
                        p[0] = exp(P[i, j] - m[i, h])
                        l[i, h] += p[0]
                        for d in unroll(8):
                            acc[i, h, d] += p[0] * Vs[j, h * 8 + d]
        for i in lanes(32):
            for h in lanes(2):
                if io * 32 + i < S:
                    for d in unroll(8):
                        o[io * 32 + i, h * 8 + d] = acc[i, h, d] / l[i, h]
""",
    "total_two_launches": """
def total_two_launches(N: dim, x: f32[N], y: f32[1]):
    part: scratch.f32[64]
    for b in block(64):
        s: shared.f32[1]
        s[0] = 0.0
        for t in lanes(64):
            p: local.f32[1]
            p[0] = 0.0
            for i in serial((N + 4095) // 4096):
                if i * 4096 + b * 64 + t < N:
                    p[0] += x[i * 4096 + b * 64 + t]
            s[0] += p[0]
        part[b] = s[0]
    for u in block(1):
        f: shared.f32[1]
        f[0] = 0.0
        for t in lanes(64):
            f[0] += part[t]
        y[0] = f[0]
""",
    "scatter_add": """
def scatter_add(V: dim, N: dim, D: dim, idx: i32[N] @ within(0, V), x: f32[N, D], y: f32[V, D]):
    for n in block(N):
        for d in lanes(D):
            y[idx[n], d] += x[n, d]
""",
    "gather": """
def gather(V: dim, N: dim, D: dim, idx: i32[N] @ within(0, V), x: f32[V, D], y: f32[N, D]):
    for n in block(N):
        for d in lanes(D):
            y[n, d] = x[idx[n], d]
""",
    "gemm_vnni": """
def gemm_vnni(M: dim, N: dim, K: dim, A: u8[M, K * 4], B: i8[K * 4, N * 16], C: i32[M, N * 16]):
    Bp: scratch.i8[N, K, 16, 4]
    for jo in block(N):
        for k in serial(K):
            for j in serial(16):
                for q in serial(4):
                    Bp[jo, k, j, q] = B[k * 4 + q, jo * 16 + j]
    for i in block(M):
        for jo in block(N):
            acc: local.i32[16]
            for j in serial(16):
                acc[j] = 0
            for k in serial(K):
                vnni16(acc[0], A[i, k * 4], Bp[jo, k, 0, 0])
            for j in serial(16):
                C[i, jo * 16 + j] = acc[j]
""",
}  # fmt: skip

PROGRAMS = {name: parse_program(text) for name, text in TEXTS.items()}
