"""Small files of torch.save for runtime/tests/files.rs: `python tests/oracles/checkpoints.py runtime/tests/torch`."""

import pathlib
import sys

import torch

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
six = torch.arange(6, dtype=torch.float32)
kinds = {
    "f32": six.view(2, 3),
    "f64": six.double() / 2,
    "f16": six.half() / 4,
    "bf16": six.bfloat16() / 8,
    "i64": torch.tensor(-7),
    "truth": torch.tensor([True, False]),
    # One storage with `f32`, and other strides.
    "turned": six.view(2, 3).t(),
    "tail": six[4:],
    "every_other": six[::2],
    "learned": torch.nn.Parameter(six.view(3, 2)),
}
weights = {"a.w": six.view(2, 3), "b.w": six[:2]}
wrapped = {f"module.{n}": t for n, t in weights.items()}
momentum = {"state": {0: {"momentum_buffer": six}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
torch.save(kinds, folder / "kinds.pth")
torch.save(kinds, folder / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"state_dict": wrapped, "epoch": 3, "best": torch.tensor(0.5)}, folder / "state_dict.pth")
torch.save({"model_state_dict": weights, "optimizer": momentum}, folder / "model_state_dict.pth")
torch.save({"model": weights, "args": {"lr": 0.1}, "ema": wrapped}, folder / "model.pth")
torch.save(wrapped, folder / "module.pth")
# One dictionary whose names begin with a key.
torch.save({f"model.{n}": t for n, t in weights.items()} | {"head.w": six}, folder / "named_model.pth")
