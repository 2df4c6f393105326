"""Detection and training steps of our detectors against torchvision's, interleaved in one process, and what a large one needs in memory.

    python benchmarks/detection.py                                       # results/detection-cpu.json, or -gpu
    python benchmarks/detection.py --rows resnet50-c4:train --rounds 5 --min-size 320 --max-size 544
    python benchmarks/detection.py --rows resnet101-c4:memory

Every row is written as soon as it is measured, into the record that is there, in place of an older row of the same name; each carries its
own settings, command and date, so that a record can be made in several goes.

Both sides get the same weights, images, settings, memory layout, precision and threads, and before anything is timed it is checked that
they find the same boxes and have the same losses. The peer of the pyramid is torchvision's resnet50 with FPN and frozen norms; layout c4
torchvision does not have, so that its FasterRCNN is put together here on its resnet50, whose layer4 is the box head. A round times each side
once, and the sides take turns at beginning; the ratio of a round is the peer's time over ours, and the record holds them all.

Memory is the greatest resident size of a process of its own that makes one detector, by name and as it comes, and then one prediction or one
training step on an image of 600 x 800 pixels.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnets.core.environment import describe_environment, keep_large_buffers

keep_large_buffers()

import torch
import torchvision
from records import RESULTS, read_record, write_record
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from resnets.detection import create_detector
from resnets.detection.detector import Detector
from resnets.detection.spec import DetectorSpec
from resnets.weights.layouts import convert, layout_keys

NUM_CLASSES = 21
SIZES = ((128.0, 256.0, 512.0),)
"""Of the anchors in layout c4 (Ren 2015)."""
Targets = list[dict[str, Tensor]]


def pyramid(options: argparse.Namespace) -> tuple[Detector, nn.Module]:
    """fasterrcnn_resnet50_fpn, ours and theirs."""
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d)
    peer = randomized(FasterRCNN(backbone, NUM_CLASSES, min_size=options.min_size, max_size=options.max_size))
    ours = Detector(DetectorSpec(num_classes=NUM_CLASSES, min_size=options.min_size, max_size=options.max_size))
    ours.load_state_dict(convert(peer.state_dict(), spec=ours.spec, source="torchvision"))
    return ours, peer


def last_stage(options: argparse.Namespace) -> tuple[Detector, nn.Module]:
    """Layout c4 on resnet50 with 300 proposals, ours and theirs."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    for part in (body.conv1, body.layer1):
        part.requires_grad_(False)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    trunk = nn.Sequential(OrderedDict((name, getattr(body, name)) for name in names))
    trunk.out_channels = 1024
    peer = randomized(
        FasterRCNN(
            trunk,
            rpn_anchor_generator=AnchorGenerator(SIZES, ((0.5, 1.0, 2.0),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
            box_head=nn.Sequential(body.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
            box_predictor=FastRCNNPredictor(2048, NUM_CLASSES),
            min_size=options.min_size,
            max_size=options.max_size,
            rpn_post_nms_top_n_test=300,
        )
    )
    spec = DetectorSpec(
        layout="c4", num_classes=NUM_CLASSES, min_size=options.min_size, max_size=options.max_size, anchor_sizes=SIZES, roi_size=14,
        rpn_post_nms_test=300,
    )  # fmt: skip
    ours, theirs = Detector(spec), {**body.state_dict(), **peer.state_dict()}
    keys = {
        **{
            f"{part}.{name}": key
            for name, key in layout_keys("torchvision", spec.network_spec).items()
            for part in ("network", "box_head")
        },
        **{
            f"{mine}.{leaf}": f"{its}.{leaf}"
            for mine, its in (
                ("proposer.convs.0", "rpn.head.conv.0.0"),
                ("proposer.objectness", "rpn.head.cls_logits"),
                ("proposer.deltas", "rpn.head.bbox_pred"),
                ("box_predictor.scores", "roi_heads.box_predictor.cls_score"),
                ("box_predictor.deltas", "roi_heads.box_predictor.bbox_pred"),
            )
            for leaf in ("weight", "bias")
        },
    }
    state = ours.state_dict()
    # Frozen norms count batches here and not there, which nothing reads.
    ours.load_state_dict({name: state[name] if name.endswith("num_batches_tracked") else theirs[keys[name]] for name in state})
    return ours, peer


DETECTORS: dict[str, Callable[[argparse.Namespace], tuple[Detector, nn.Module]]] = {
    "resnet50-fpn": pyramid,
    "resnet50-c4": last_stage,
}

ROWS = [*(f"{name}:{kind}" for name in DETECTORS for kind in ("predict", "train")), "resnet101-c4:memory"]
MEMORY_SIZE = (600, 800)
"""Height and width in pixels: the shorter side of He 2015, Appendix A."""


def randomized(peer: nn.Module) -> nn.Module:
    """Weights with which maps stay of the order of 1 and proposals move, as an untrained detector's do not."""
    torch.manual_seed(0)
    for name, value in peer.state_dict().items():
        if value.dim() > 1:
            nn.init.kaiming_normal_(value)
            if "bbox_pred" in name:
                value.mul_(0.2)
        elif name.endswith(("bn3.weight", "downsample.1.weight")):
            value.fill_(0.5)  # a sum of two as large as one
    return peer


def scenes(options: argparse.Namespace) -> tuple[list[Tensor], Targets]:
    """Images of a ratio of 4 to 3 with six objects each."""
    generator = torch.Generator().manual_seed(1)
    height, width = options.min_size, options.min_size * 4 // 3
    images = [torch.rand(3, height, width, generator=generator) for _ in range(options.batch)]
    targets = []
    for _ in images:
        corners = torch.rand(6, 2, generator=generator) * torch.tensor([width, height]) * 0.6
        boxes = torch.cat([corners, corners + (0.1 + 0.3 * torch.rand(6, 2, generator=generator)) * height], 1)
        targets.append({"boxes": boxes, "labels": torch.randint(1, NUM_CLASSES, (6,), generator=generator)})
    device = torch.device(options.device)
    return [image.to(device) for image in images], [{name: value.to(device) for name, value in t.items()} for t in targets]


def check(ours: nn.Module, peer: nn.Module, images: list[Tensor], targets: Targets) -> int:
    """Compares boxes and losses in float32, and says how many boxes there are."""
    with torch.inference_mode():
        found = [module.eval()(images) for module in (ours, peer)]
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine["boxes"], its["boxes"], rtol=1e-3, atol=0.1)
        torch.testing.assert_close(mine["scores"], its["scores"], rtol=1e-2, atol=1e-3)
    losses = []
    for module in (ours, peer):
        torch.manual_seed(2)  # both draw their samples from torch's generator
        losses.append(module.train()(images, targets))
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name], rtol=1e-2, atol=1e-3)
    return sum(len(each["boxes"]) for each in found[0])


def job(detector: nn.Module, images: list[Tensor], targets: Targets, kind: str, precision: str) -> Callable[[], None]:
    """One detection in evaluation mode, or one step (losses, backward, SGD with momentum) in training mode."""
    autocast = torch.autocast(images[0].device.type, torch.bfloat16, enabled=precision == "bf16")
    if kind == "predict":

        def predict() -> None:
            detector.eval()
            with torch.inference_mode(), autocast:
                detector(images)

        return predict
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=1e-6, momentum=0.9)

    def step() -> None:
        detector.train()
        torch.manual_seed(3)
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            losses = detector(images, targets)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        optimizer.step()

    return step


def timed(work: Callable[[], None], device: str) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def speed(name: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """The times of both sides."""
    ours, peer = (module.to(options.device, memory_format=torch.channels_last) for module in DETECTORS[name](options))
    images, targets = scenes(options)
    boxes = check(ours, peer, images, targets)
    jobs = {side: job(module, images, targets, kind, options.precision) for side, module in (("ours", ours), ("torchvision", peer))}
    for work in jobs.values():
        for _ in range(options.warm_up):
            timed(work, options.device)
    seconds: dict[str, list[float]] = {side: [] for side in jobs}
    for turn in range(options.rounds):
        for side in list(jobs) if turn % 2 == 0 else list(jobs)[::-1]:
            seconds[side].append(timed(jobs[side], options.device))
    ratios = [theirs / mine for theirs, mine in zip(seconds["torchvision"], seconds["ours"], strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "images_per_second": options.batch / statistics.median(seconds["ours"]),
        "boxes_found": boxes,
        "seconds": seconds,
        "settings": {
            key: vars(options)[key] for key in ("precision", "batch", "min_size", "max_size", "rounds", "warm_up", "device")
        },
    }


def memory(name: str) -> dict[str, Any]:
    """Greatest resident sizes, each of a fresh process: after the imports, of a prediction, and of a training step."""
    peaks = {}
    for kind in ("imports", "predict", "train"):
        command = [sys.executable, __file__, "--peak", name, kind]
        peaks[kind] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {"peak_memory_bytes": peaks, "settings": {"batch": 1, "height": MEMORY_SIZE[0], "width": MEMORY_SIZE[1]}}


def peak(name: str, kind: str) -> int:
    """The greatest resident size in bytes of this process after the work."""
    if kind != "imports":
        torch.manual_seed(0)
        detector, generator = create_detector(name), torch.Generator().manual_seed(1)
        target = {"boxes": torch.tensor([[100.0, 100, 400, 500], [300, 50, 700, 300]]), "labels": torch.tensor([1, 2])}
        job(detector, [torch.rand(3, *MEMORY_SIZE, generator=generator)], [target], kind, "fp32")()
    status = Path("/proc/self/status")
    if status.exists():  # a process's own, where getrusage also counts what its parent had when it began
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the record."""
    name, _, kind = row.partition(":")
    found = memory(name) if kind == "memory" else speed(name, kind, options)
    said = {key: value for key, value in found.items() if key not in ("seconds", "settings")}
    print({"row": row, **said}, file=sys.stderr, flush=True)
    return {
        "row": row, "detector": name, "mode": kind, **found,
        "command": shlex.join(["python", *sys.argv]), "date": datetime.date.today().isoformat(),
    }  # fmt: skip


def merged(record: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the record with this one in its place."""
    before = read_record(record)["rows"] if (RESULTS / f"{record}.json").exists() else []
    rows = {each["row"]: each for each in (*before, row)}
    return [rows[name] for name in ROWS if name in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--min-size", type=int, default=480, help="shorter side of the images")
    parser.add_argument("--max-size", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", nargs=2, metavar=("DETECTOR", "KIND"), help="print what one fresh process needs, in bytes")
    options = parser.parse_args()
    if options.peak:
        print(peak(*options.peak))
        return
    on_gpu = options.device.startswith("cuda") and describe_environment()["gpu"] is not None
    record = f"detection-{'gpu' if on_gpu else 'cpu'}"
    about = (
        "ratio: median over rounds of torchvision's time divided by ours, with the smallest and largest; above 1 ours is faster. "
        "peak_memory_bytes: greatest resident size of a fresh process"
    )
    for name in options.rows:
        row = measure(name, options)
        peers = {"torchvision": torchvision.__version__}
        print(write_record(record, {"about": about, "peers": peers, "rows": merged(record, row)}))


if __name__ == "__main__":
    main()
