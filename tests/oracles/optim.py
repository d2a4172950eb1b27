"""Writes optim.json: what PyTorch's optimisers and schedules make of a small regression in 100 steps, in f64.

    python3 tests/oracles/optim.py        (torch 2.15; any version since 2.1 will do)

A tanh layer of 4 outputs on 8 samples of 3 numbers, full batch, mean square error. Ten steps are an epoch. Every case names the
stage of ours that must give the same: after `minimise loss`. All numbers are such that f32 holds them exactly, so that
they are the same in f64 and in f32. Rates are small enough that Adam does not circle around a minimum:
there it is chaotic, and the rounding of weights to f32 alone moves losses by 1e-3 within 100 steps.
"""
import json
import pathlib

import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler as lr, swa_utils

torch.set_default_dtype(torch.float64)
torch.manual_seed(7)
STEPS, EPOCH = 100, 10


def grid(*shape):
    """Values that f32 holds exactly."""
    return torch.round(torch.randn(*shape) * 64) / 64


X, Y, W, B = grid(8, 3), grid(8, 4) / 2, grid(4, 3), grid(4)


def sequence(o):
    rise = lr.LinearLR(o, start_factor=0.1, total_iters=9)
    return lr.SequentialLR(o, [rise, lr.CosineAnnealingLR(o, T_max=90)], milestones=[10])


NORM = lambda ps: torch.nn.utils.clip_grad_norm_(ps, 0.125)
VALUE = lambda ps: torch.nn.utils.clip_grad_value_(ps, 0.0625)
# Adam's defaults, rounded to what f32 holds exactly.
B2, EPS = 1 - 2**-10, 2**-27
EXACT = {"betas": (0.875, B2), "eps": EPS}
SAID = f"betas: (0.875, {B2}), eps: {EPS!r}"
# name, stage, optimiser, schedule by step, schedule by epoch, clipping, average
CASES = [
    ("sgd", "with sgd(lr: 0.125)", lambda p: SGD(p, 0.125), None, None, None, False),
    ("sgd_decay", "with sgd(lr: 0.125, weight_decay: 0.015625)", lambda p: SGD(p, 0.125, weight_decay=0.015625), None, None, None, False),
    ("momentum", "with sgd(lr: 0.125, momentum: 0.875)", lambda p: SGD(p, 0.125, 0.875), None, None, None, False),
    ("nesterov", "with sgd(lr: 0.0625, momentum: 0.875, nesterov: true, weight_decay: 0.015625)",
     lambda p: SGD(p, 0.0625, 0.875, weight_decay=0.015625, nesterov=True), None, None, None, False),
    ("adam", f"with adam(lr: 0.0078125, {SAID})", lambda p: Adam(p, 0.0078125, **EXACT), None, None, None, False),
    ("adam_decay", f"with adam(lr: 0.00390625, betas: (0.75, 0.984375), eps: {EPS!r}, weight_decay: 0.03125)",
     lambda p: Adam(p, 0.00390625, (0.75, 0.984375), EPS, 0.03125), None, None, None, False),
    ("adamw", f"with adamw(lr: 0.0078125, {SAID}, weight_decay: 0.0078125)",
     lambda p: AdamW(p, 0.0078125, **EXACT, weight_decay=0.0078125), None, None, None, False),
    ("adamw_decay", f"with adamw(lr: 0.015625, betas: (0.875, 0.9375), eps: {2**-20!r}, weight_decay: 0.1875)",
     lambda p: AdamW(p, 0.015625, (0.875, 0.9375), 2**-20, 0.1875), None, None, None, False),
    ("groups", f"over fit.b with sgd(lr: 0.1875) over rest with adam(lr: 0.0078125, {SAID})", None, None, None, None, False),
    ("step", f"with adamw(lr: 0.015625, {SAID}, weight_decay: 0.0078125); schedule: step(every: 3, by: 0.125)",
     lambda p: AdamW(p, 0.015625, **EXACT, weight_decay=0.0078125), None, lambda o: lr.StepLR(o, 3, 0.125), None, False),
    ("cosine", "with sgd(lr: 0.1875, momentum: 0.875); schedule: cosine(floor: 0.0625)",
     lambda p: SGD(p, 0.1875, 0.875), lambda o: lr.CosineAnnealingLR(o, STEPS, 0.1875 * 0.0625), None, None, False),
    ("cosine_warm", f"with adam(lr: 0.015625, {SAID}); schedule: cosine(warmup: 0.1)",
     lambda p: Adam(p, 0.015625, **EXACT), sequence, None, None, False),
    ("warm_up", f"with adam(lr: 0.015625, {SAID}); schedule: warm_up(first: 10)",
     lambda p: Adam(p, 0.015625, **EXACT), lambda o: lr.LinearLR(o, 0.1, total_iters=9), None, None, False),
    ("linear", "with sgd(lr: 0.125); schedule: linear_decay(floor: 0.25)",
     lambda p: SGD(p, 0.125), lambda o: lr.LinearLR(o, 1.0, 0.25, STEPS), None, None, False),
    ("clip_norm", "with sgd(lr: 0.5); clip: 0.125", lambda p: SGD(p, 0.5), None, None, NORM, False),
    ("clip_value", "with sgd(lr: 0.5); clip: clip_value(0.0625)", lambda p: SGD(p, 0.5), None, None, VALUE, False),
    ("ema", f"with adamw(lr: 0.03125, {SAID}, weight_decay: 0.0078125); average: ema(decay: 0.875)",
     lambda p: AdamW(p, 0.03125, **EXACT, weight_decay=0.0078125), None, None, None, True),
]


def run(make, by_step, by_epoch, clip, average, dtype=torch.float64):
    net = torch.nn.Linear(3, 4, dtype=dtype)
    x, y = X.to(dtype), Y.to(dtype)
    with torch.no_grad():
        net.weight.copy_(W)
        net.bias.copy_(B)
    ps = list(net.parameters())
    opts = [make(ps)] if make else [SGD([net.bias], 0.1875), Adam([net.weight], 0.0078125, **EXACT)]
    plans = [(f, e) for f, e in ((by_step, 1), (by_epoch, EPOCH)) if f]
    plans = [(f(opts[0]), e) for f, e in plans]
    mean = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.875)) if average else None
    losses = []
    for step in range(STEPS):
        for o in opts:
            o.zero_grad()
        loss = ((torch.tanh(net(x)) - y) ** 2).mean()
        loss.backward()
        if clip:
            clip(ps)
        for o in opts:
            o.step()
        if mean:
            mean.update_parameters(net)
        for plan, every in plans:
            if (step + 1) % every == 0:
                plan.step()
        losses.append(loss.item())
    last = mean.module if mean else net
    return {"losses": losses, "w": last.weight.tolist(), "b": last.bias.tolist()}


def case(name, stage, *how):
    """`f32`: how far PyTorch itself is from this in f32."""
    whole, short = run(*how), run(*how, dtype=torch.float32)
    off = [abs(torch.tensor(whole[k]) - torch.tensor(short[k])).max().item() for k in ("w", "b", "losses")]
    return {"name": name, "stage": stage, "f32": max(off), **whole}


out = {"torch": torch.__version__, "steps": STEPS, "epoch": EPOCH, "x": X.tolist(), "y": Y.tolist(), "w": W.tolist(), "b": B.tolist(),
       "cases": [case(*c) for c in CASES]}
pathlib.Path(__file__).with_name("optim.json").write_text(json.dumps(out) + "\n")
