"""Writes tests/cases/mmae_ecg/two_scales: the masked autoencoder of two scales, written from the method's sheet, in f64.

    python3 tests/oracles/mmae_ecg.py        (numpy; scipy for erf and the Gaussian)

The aggregated scores of R complementary passes, and the gradients of their weighted sum by central differences. Nothing of the spec was
used: tokens are gathered and put back by index.
"""
import json
import pathlib
import struct

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import erf

K, Q, S, DELTA, H, THETA, D, HEADS, L, B = 2, 40, 5, 4, 3, 0.25, 8, 2, 2, 3
T = Q // S
rng = np.random.default_rng(11)


def f32(*shape, scale=0.3, add=0.0):
    """Values that f32 holds exactly."""
    return (add + scale * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)


W = {"embed.w": f32(D, K * S), "embed.b": f32(D), "far": f32(T, D), "near": f32(DELTA, D), "blank": f32(D)}
for layer in [f"encode.{i}" for i in range(L)] + ["decode"]:
    for norm in ("norm1", "norm2"):
        W[f"{layer}.{norm}.scale"], W[f"{layer}.{norm}.shift"] = f32(D, add=1.0), f32(D)
    for part in "q", "k", "v", "out":
        W[f"{layer}.attend.{part}.w"], W[f"{layer}.attend.{part}.b"] = f32(D, D), f32(D)
    W[f"{layer}.mlp.up.w"], W[f"{layer}.mlp.up.b"] = f32(4 * D, D), f32(4 * D)
    W[f"{layer}.mlp.down.w"], W[f"{layer}.mlp.down.b"] = f32(D, 4 * D), f32(D)
for norm in ("norm_in", "norm_out"):
    W[f"{norm}.scale"], W[f"{norm}.shift"] = f32(D, add=1.0), f32(D)
W["rebuild.w"], W["rebuild.b"] = f32(K * S, D), f32(K * S)
X = f32(B, K, Q, scale=1.0)


def linear(w, name, x):
    return x @ w[name + ".w"].T + w[name + ".b"]


def norm(w, name, x):
    m, v = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - m) / np.sqrt(v + 1e-6) * w[name + ".scale"] + w[name + ".shift"]


def block(w, name, x):
    n = norm(w, name + ".norm1", x)
    split = lambda y: y.reshape(*y.shape[:2], HEADS, D // HEADS).transpose(0, 2, 1, 3)
    q, k, v = (split(linear(w, f"{name}.attend.{p}", n)) for p in "qkv")
    a = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // HEADS)
    a = np.exp(a - a.max(-1, keepdims=True))
    y = (a / a.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
    x = x + linear(w, f"{name}.attend.out", y)
    h = linear(w, f"{name}.mlp.up", norm(w, name + ".norm2", x))
    return x + linear(w, f"{name}.mlp.down", 0.5 * h * (1 + erf(h / np.sqrt(2))))


SEGMENTS = np.stack([X[:, :, t * S : (t + 1) * S].reshape(B, K * S) for t in range(T)], axis=1)
TARGET = (SEGMENTS - SEGMENTS.mean(-1, keepdims=True)) / np.sqrt(SEGMENTS.var(-1, ddof=1, keepdims=True) + 1e-6)


def one_pass(w, hidden, hidden_local, start):
    """Squared errors of all segments at both scales."""
    seen, seen_local = [t for t in range(T) if t not in hidden], [t for t in range(DELTA) if t not in hidden_local]
    z = linear(w, "embed", SEGMENTS)
    tokens = [z[:, t] + w["far"][t] for t in seen] + [z[:, start + t] + w["near"][t] for t in seen_local]
    x = np.stack(tokens, axis=1)
    for i in range(L):
        x = block(w, f"encode.{i}", x)
    x = norm(w, "norm_in", x)
    far = np.broadcast_to(w["blank"], (B, T, D)).copy()
    near = np.broadcast_to(w["blank"], (B, DELTA, D)).copy()
    far[:, seen], near[:, seen_local] = x[:, : len(seen)], x[:, len(seen) :]
    y = np.concatenate([far + w["far"], near + w["near"]], axis=1)
    y = linear(w, "rebuild", norm(w, "norm_out", block(w, "decode", y)))
    return (y[:, :T] - TARGET) ** 2, (y[:, T:] - TARGET[:, start : start + DELTA]) ** 2


def start_of(h):
    return int(np.floor(h * (T - DELTA) / max(H - 1, 1) + 0.5))


def score_of(w):
    """The error of every point, from R complementary passes, and its mean."""
    r_all = round(1 / THETA)
    total, inside, count = np.zeros((B, T, K * S)), np.zeros((B, T, K * S)), np.zeros(T)
    for r in range(r_all):
        hidden, hidden_local = [t for t in range(T) if t % r_all == r], [t for t in range(DELTA) if t % r_all == r]
        start = start_of(r * H // r_all)
        g, l = one_pass(w, hidden, hidden_local, start)
        total[:, hidden] += g[:, hidden]
        for t in hidden_local:
            inside[:, start + t] += l[:, t]
            count[start + t] += 1
    whole = total + inside / np.maximum(count, 1)[:, None]
    point = whole.reshape(B, T, K, S).transpose(0, 2, 1, 3).reshape(B, K, Q)
    return point, point.mean((1, 2))


point, score = score_of(W)
smooth = gaussian_filter1d(point, 15, axis=2, mode="reflect", truncate=4.0)
DY = f32(B, scale=1.0)

grads = {}
for name in W:
    g, flat = np.zeros(W[name].size), W[name].reshape(-1)
    for i in range(flat.size):
        old, step = flat[i], 1e-5
        flat[i] = old + step
        up = (score_of(W)[1] * DY).sum()
        flat[i] = old - step
        g[i] = (up - (score_of(W)[1] * DY).sum()) / (2 * step)
        flat[i] = old
    grads[name] = g.reshape(W[name].shape)


def write(path, tensors):
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.int32): "I32"}
    head, data = {}, b""
    for name, t in tensors.items():
        t = np.ascontiguousarray(t if t.dtype == np.int32 else t.astype(np.float32))
        head[name] = {"dtype": kinds[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + t.nbytes]}
        data += t.tobytes()
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


home = pathlib.Path(__file__).parent.parent / "cases/mmae_ecg/two_scales"
write(home / "inputs.safetensors", {"signal": X, "dy": DY})
write(home / "params.safetensors", W)
write(home / "outputs.safetensors", {"target": TARGET, "point": point, "score": score, "smooth": smooth})
write(home / "grads.safetensors", grads)
config = {"K": K, "Q": Q, "S": S, "delta": DELTA, "H": H, "theta": THETA, "d": D, "heads": HEADS, "L": L}
(home / "case.json").write_text(json.dumps({"method": "MMAE-ECG, both scales", "config": config}, indent=1) + "\n")
