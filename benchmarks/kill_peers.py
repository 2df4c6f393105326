"""The same treatment for other libraries: trained, killed at random moments and resumed by their own means. Are the ends the same bits?

    python benchmarks/kill_peers.py                 # results/kill-peers-cpu.json

Each peer trains a small ResNet-18 on 360 handwritten digits of 32 x 32 pixels with its own trainer, its own checkpoints and its own way to
resume, with seeds set and one thread, in an environment of its own that this script makes. An undisturbed run is repeated, so that what a
peer does not repeat anyway is not counted against its resumption. timm's training script is not part of its package: it is run where
--timm-script names the train.py of timm's repository.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PEERS = {
    "lightning": ("lightning", "lightning-utilities", "torchmetrics", "pytorch-lightning"),
    "huggingface-trainer": ("accelerate",),
    "ultralytics": ("ultralytics", "ultralytics-thop", "opencv-python-headless", "polars", "polars-runtime-32", "requests"),
    "timm": ("timm",),
}
"""By peer: the packages that its environment has besides those of this one."""

COMMON = """
import os, random, sys
from pathlib import Path
import numpy, torch
from torch import nn
folder, resumed = Path(sys.argv[1]), sys.argv[2] == "resume"
torch.set_num_threads(1)

def seed():
    random.seed(0); numpy.random.seed(0); torch.manual_seed(0)

def digits():
    from sklearn.datasets import load_digits
    found = load_digits()
    images = torch.tensor(found.images[:360] / 16, dtype=torch.float32)[:, None]
    images = nn.functional.interpolate(images, (32, 32)).repeat(1, 3, 1, 1)
    return images, torch.tensor(found.target[:360])

def network():
    from torchvision.models import resnet18
    return nn.Sequential(resnet18(num_classes=10), nn.Dropout(0.0))

class Turned(torch.utils.data.Dataset):
    '''Augmented at random, as any training is.'''
    def __init__(self): self.images, self.labels = digits()
    def __len__(self): return len(self.images)
    def __getitem__(self, index):
        image = self.images[index]
        shift = torch.randint(-3, 4, (2,)).tolist()
        return image.roll(shift, (1, 2)), self.labels[index]

def finish(module):
    torch.save(module.state_dict(), folder / "end.pth.part"); os.replace(folder / "end.pth.part", folder / "end.pth")
"""

SCRIPTS = {
    "lightning": COMMON
    + """
import lightning
lightning.seed_everything(0, verbose=False)

class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__(); self.network = network()
    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)

keep = lightning.pytorch.callbacks.ModelCheckpoint(folder / "kept", every_n_train_steps=4, save_last=True, save_top_k=1)
trainer = lightning.Trainer(max_epochs=3, callbacks=[keep], default_root_dir=folder, accelerator="cpu", devices=1, deterministic=True,
                            enable_progress_bar=False, enable_model_summary=False, logger=False)
loader = torch.utils.data.DataLoader(Turned(), 36, shuffle=True)
module = Classifier()
trainer.fit(module, loader, ckpt_path="last" if resumed and list((folder / "kept").glob("last*")) else None)
finish(module.network)
""",
    "huggingface-trainer": COMMON
    + """
from transformers import Trainer, TrainingArguments, set_seed
set_seed(0)

class Classifier(nn.Module):
    def __init__(self):
        super().__init__(); self.network = network()
    def forward(self, images, labels):
        logits = self.network(images)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

def joined(rows):
    return {"images": torch.stack([image for image, _ in rows]), "labels": torch.stack([label for _, label in rows])}

arguments = TrainingArguments(folder / "kept", num_train_epochs=3, per_device_train_batch_size=36, save_steps=4, save_strategy="steps",
                              optim="sgd", learning_rate=0.05, report_to=[], use_cpu=True, seed=0, disable_tqdm=True, logging_strategy="no",
                              save_total_limit=2)
trainer = Trainer(Classifier(), arguments, train_dataset=Turned(), data_collator=joined)
trainer.train(resume_from_checkpoint=bool(resumed and list((folder / "kept").glob("checkpoint-*"))))
finish(trainer.model.network)
""",
    "ultralytics": COMMON
    + """
import PIL.Image
data = folder.parent / "digits"
if not data.exists():
    images, labels = digits()
    for number, (image, label) in enumerate(zip(images, labels)):
        path = data / ("train" if number % 5 else "val") / str(int(label)) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype("uint8")).save(path)
import ultralytics
last = folder / "run" / "weights" / "last.pt"
if resumed and last.exists():
    model = ultralytics.YOLO(str(last)); model.train(resume=True)
else:
    model = ultralytics.YOLO("yolo11n-cls.yaml")
    model.train(data=str(data), epochs=3, imgsz=32, batch=36, seed=0, deterministic=True, device="cpu", workers=0,
                project=str(folder), name="run", exist_ok=True, plots=False, val=False, verbose=False)
finish(torch.load(last, weights_only=False)["ema"] or torch.load(last, weights_only=False)["model"])
""",
    "timm": COMMON
    + """
import runpy
import PIL.Image
data = folder.parent / "digits"
if not data.exists():
    images, labels = digits()
    for number, (image, label) in enumerate(zip(images, labels)):
        path = data / ("train" if number % 5 else "validation") / str(int(label)) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype("uint8")).save(path)
sys.argv = ["train.py", "--data-dir", str(data), "--model", "resnet18", "--num-classes", "10", "--img-size", "32", "--epochs", "3", "-b", "36",
            "--device", "cpu", "--seed", "0", "-j", "1", "--output", str(folder / "kept"), "--experiment", "run", "--opt", "momentum",
            "--lr", "0.05", "--warmup-epochs", "0", "--cooldown-epochs", "0", "--checkpoint-hist", "2", "--recovery-interval", "4",
            "--log-interval", "1000"]
# A resumed run goes into a folder of its own: timm numbers them, run, run-1, ...
if resumed:
    places = [path for run in (folder / "kept").glob("run*") for path in [*run.glob("recovery-*.pth.tar"), *run.glob("last.pth.tar")]]
    if places:
        sys.argv += ["--resume", str(max(places, key=lambda path: path.stat().st_mtime))]
runpy.run_path(os.environ["TIMM_SCRIPT"], run_name="__main__")
last = max((folder / "kept").glob("run*/last.pth.tar"), key=lambda path: path.stat().st_mtime)
state = torch.load(last, weights_only=False)["state_dict"]
torch.save(state, folder / "end.pth.part"); os.replace(folder / "end.pth.part", folder / "end.pth")
""",
}


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The Python of an environment that has those packages besides everything that this one has."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *packages], check=True)
    return python


def trained(python: Path, script: Path, folder: Path, resumed: bool) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "YOLO_OFFLINE": "true",
        "YOLO_CONFIG_DIR": str(folder.parent),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": "",
    }
    command = [str(python), str(script), str(folder), "resume" if resumed else "begin"]
    log = (folder / "log.txt").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True, cwd=folder)


def end(folder: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(folder / "end.pth", weights_only=True))


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of two ends' weights; 0 where they are the same bits."""
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel())


def measured(peer: str, work: Path, chains: int, kills: int, seed: int) -> dict[str, Any]:
    """A row of the record."""
    python = environment(work / f"{peer}-environment", PEERS[peer])
    script = work / f"train_{peer}.py"  # not a name that hides the peer itself
    script.write_text(SCRIPTS[peer])
    seconds = 0.0
    for name in ("alone", "again"):
        began = time.monotonic()
        if trained(python, script, work / peer / name, False).wait():
            return {"peer": peer, "failed": (work / peer / name / "log.txt").read_text()[-800:]}
        seconds = time.monotonic() - began
    alone, moments = end(work / peer / "alone"), random.Random(f"{seed} {peer}")
    differences, failures, killed = [], 0, 0
    for chain in range(chains):
        folder = work / peer / f"chain-{chain}"
        for attempt in range(kills + 1):
            process = trained(python, script, folder, attempt > 0)
            try:
                process.wait(None if attempt == kills else moments.uniform(0.5, 1.05) * seconds)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
        if (folder / "end.pth").exists():
            differences.append(difference(alone, end(folder)))
        else:
            failures += 1
    return {
        "peer": peer, "version": subprocess.run(
            [str(python), "-c", f"from importlib.metadata import version; print(version('{'transformers' if 'hugging' in peer else peer}'))"],
            capture_output=True, text=True, check=False,
        ).stdout.strip(),
        "repeats_itself": difference(alone, end(work / peer / "again")) == 0, "kills": killed, "runs": chains, "failed_to_resume": failures,
        "equal": sum(each == 0 for each in differences), "largest_difference": max(differences, default=None),
    }  # fmt: skip


def main() -> None:
    from records import write_record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--chains", type=int, default=4, help="runs of each peer")
    parser.add_argument("--kills", type=int, default=3, help="at most, of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--timm-script", type=Path, help="train.py of timm's repository; without it timm is not run")
    options = parser.parse_args()
    if options.timm_script is None:
        options.peers = [peer for peer in options.peers if peer != "timm"]
    else:
        os.environ["TIMM_SCRIPT"] = str(options.timm_script.absolute())
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        rows = []
        for peer in options.peers:
            rows.append(measured(peer, work, options.chains, options.kills, options.seed))
            print(rows[-1], file=sys.stderr, flush=True)
    about = (
        "equal: runs that were killed and resumed by the peer's own means and whose final weights are the bits of its undisturbed run; "
        "repeats_itself: whether a second undisturbed run gives those bits"
    )
    print(write_record("kill-peers-cpu", {"about": about, "torch": version("torch"), "peers": rows}))


if __name__ == "__main__":
    main()
