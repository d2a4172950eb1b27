"""Encoders of stdlib/encoders.uad beside the public code they are called after.

    pip install torch torchvision timm efficientnet_pytorch safetensors
    python tests/oracles/networks.py FOLDER [--uadc target/release/uadc] [NAME...]

Writes one case folder per network for `uadc compare`: random weights of a fixed seed, with every one-dimensional
parameter and every statistic of a normalisation moved off its start, so that a missing bias or a swapped layer shows.
What is expected is computed in f64 and rounded. The names file of a case is the library's own map with the taps
added. With `--uadc` the cases are compared, and the largest error of each is printed.
"""

import argparse
import json
import pathlib
import subprocess

import timm
import torch
import torchvision
from efficientnet_pytorch import EfficientNet
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "tests/cases/networks/networks.uad"


def resnet(name):
    model = getattr(torchvision.models, name)()
    return model, [model.maxpool, model.layer1, model.layer2, model.layer3, model.layer4]


def mobilenet():
    model = torchvision.models.mobilenet_v2()
    return model, list(model.features[:18])


def squeezenet():
    model = torchvision.models.squeezenet1_1()
    return model, [model.features[i] for i in (1, 3, 4, 6, 7, 9, 10, 11, 12)]


def efficientnet(name, size):
    # Padding is fixed when the model is made, for pictures of its published size.
    model = EfficientNet.from_name(name, image_size=size)
    return model, list(model._blocks)


def vit(name):
    model = timm.create_model(name, dynamic_img_size=True)
    for block in model.blocks:
        block.attn.fused_attn = False
    return model, [model.norm] + [b.attn.attn_drop for b in model.blocks]


TAPS = '"found.{i}" = "tap.{i}"'
SHOWN = '"found.tokens" = "tap.0"\n"found.attention.{i}" = "tap.{i+1}"'
GRID = '"found" = "grid"\n"encoder.blocks.{i}.attend.seen.weights" = "tap.{i+1}"'

# case: model, detector, names file, outputs, height and width
CASES = {
    "resnet18": (lambda: resnet("resnet18"), "levels", "resnet18.torchvision", TAPS, (96, 128)),
    "resnet34": (lambda: resnet("resnet34"), "resnet34_all", "resnet34.torchvision", TAPS, (96, 128)),
    "resnet50": (lambda: resnet("resnet50"), "resnet50_all", "resnet50.torchvision", TAPS, (96, 128)),
    "wide_resnet50_2": (lambda: resnet("wide_resnet50_2"), "wide_resnet50_all", "wide_resnet50.torchvision", TAPS, (96, 128)),
    "mobilenet_v2": (mobilenet, "mobilenet_v2_all", "mobilenet_v2.torchvision", TAPS, (96, 128)),
    "squeezenet1_1": (squeezenet, "squeezenet1_1_all", "squeezenet1_1.torchvision", TAPS, (97, 130)),
    "efficientnet_b0": (lambda: efficientnet("efficientnet-b0", 224), "efficientnet_b0_all", "efficientnet_b0.lukemelas", TAPS, (224, 224)),
    "efficientnet_b4": (lambda: efficientnet("efficientnet-b4", 380), "efficientnet_b4_all", "efficientnet_b4.lukemelas", TAPS, (224, 224)),
    "vit_tiny_patch16": (lambda: vit("vit_tiny_patch16_224"), "vit_ti16_all", "vit_ti16.timm", SHOWN, (224, 224)),
    "vit_tiny_patch16_larger": (lambda: vit("vit_tiny_patch16_224"), "vit_ti16_all", "vit_ti16.timm", SHOWN, (256, 304)),
    "vit_small_patch16": (lambda: vit("vit_small_patch16_224"), "vit_s16_all", "vit_s16.timm", SHOWN, (224, 224)),
    "vit_small_patch8": (lambda: vit("vit_small_patch8_224"), "dino_s8_all", "dino_s8.meta", SHOWN, (224, 224)),
    "vit_base_patch16": (lambda: vit("vit_base_patch16_224"), "vit_b16_all", "vit_b16.timm", GRID, (224, 224)),
}


@torch.no_grad()
def move(model, seed):
    """Seeded weights with nothing left at its start."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.state_dict().items()):
        if name.endswith("running_var"):
            p.copy_(torch.rand(p.shape, generator=g) + 0.5)
        elif name.endswith("running_mean"):
            p.copy_(torch.randn(p.shape, generator=g) * 0.1)
        elif p.ndim == 2:
            # Wide enough that attention is far from even.
            p.copy_(torch.randn(p.shape, generator=g) * 1.5 / p.shape[1] ** 0.5)
        elif p.ndim > 2:
            p.copy_(torch.randn(p.shape, generator=g) * (0.5 if "pos_embed" in name else p.std()))
        elif p.is_floating_point():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)


def write(folder, name, seed):
    make, detector, names, outputs, (height, width) = CASES[name]
    torch.manual_seed(seed)
    model, taps = make()
    model.eval()
    move(model, seed)
    params = {n: t.clone().contiguous() for n, t in model.state_dict().items() if t.is_floating_point()}
    image = torch.randn(2 if height * width < 224 * 224 else 1, 3, height, width)
    found = {}

    def keep(n):
        return lambda _module, _args, out: found.__setitem__(f"tap.{n}", out.detach().clone())

    for n, tap in enumerate(taps):
        tap.register_forward_hook(keep(n))
    with torch.no_grad():
        model.double()(image.double())
    if outputs is GRID:
        tokens = found.pop("tap.0")[:, 1:]
        found["grid"] = tokens.transpose(1, 2).reshape(image.shape[0], -1, height // 16, width // 16)
    case = folder / name
    case.mkdir(parents=True, exist_ok=True)
    save_file(params, case / "params.safetensors")
    save_file({"image": image}, case / "inputs.safetensors")
    save_file({n: t.float().contiguous() for n, t in found.items()}, case / "outputs.safetensors")
    about = {"method": "encoder", "name": name, "seed": seed, "height": height, "width": width}
    about["versions"] = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    (case / "case.json").write_text(json.dumps(about, indent=1) + "\n")
    library = (ROOT / f"stdlib/names/{names}.toml").read_text()
    (case / "names.toml").write_text(
        f'root = "encoder"\n{library}\n[config]\n"height" = "height"\n"width" = "width"\n\n'
        f'[inputs]\n"image" = "seen"\n\n[outputs]\n{outputs}\n'
    )
    return ["compare", str(SPEC), str(case), "--detector", detector, "--names", str(case / "names.toml")]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("names", nargs="*", help=", ".join(CASES))
    args.add_argument("--uadc", help="compare with this program")
    args = args.parse_intermixed_args()
    failed = 0
    for seed, name in enumerate(CASES):
        if args.names and name not in args.names:
            continue
        command = write(args.folder, name, 7000 + seed)
        if not args.uadc:
            print("uadc", *command)
            continue
        ran = subprocess.run([args.uadc, *command, "--json"], capture_output=True, text=True)
        failed += ran.returncode != 0
        rows = json.loads(ran.stdout).get("tensors", []) if ran.stdout else []
        bad = [f"  {r['foreign']}: {r['trouble'] or r['max_rel']}" for r in rows if not r["ok"]]
        if bad or not rows:
            print(f"{name}:", *bad[:4], ran.stdout if not rows else "", ran.stderr, sep="\n")
            continue
        # Of each tensor's own largest value, which may be far below one.
        wanted = load_file(args.folder / name / "outputs.safetensors")
        worst = max(r["max_abs"] / wanted[r["foreign"]].abs().max().item() for r in rows)
        print(f"{name}: {len(rows)} tensors, {worst:.1e} of the largest value", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
