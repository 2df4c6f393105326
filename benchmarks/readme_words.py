"""What the READMEs' generated parts say, in each of their languages; `readme_tables.py` puts the numbers in.

A part says the same numbers in every language. What a study's record says in English alone stays so where no words are given here.
"""

from __future__ import annotations

import re

ENGLISH = {
    "training": "{processor}, {threads} threads, torch {torch}; {rounds} rounds. The tutorial's own loop makes "
    "{low:.0f}–{high:.0f} images/s "
    "there.",
    "training columns": "| recipe | test accuracy | training time | against the tutorial's own loop |",
    "same job": "| `fashion-mnist-tutorial`: the same job | | | {ratio:.2f}× the images/s ({ours:.1f} GiB against "
    "{theirs:.1f} GiB) |",
    "recipe": "| `{name}` | {top1:.2f} ± {deviation:.2f} % ({rounds} seeds) | {seconds:.1f} s | {ratio:.0f}× shorter "
    "than its five epochs |",
    "arithmetic": "The same job is bound by arithmetic there: our step, in bf16, makes {ours:.0f} % of that machine's "
    "measured rate of matrix "
    "products in bf16, the tutorial's loop, in fp32, {theirs:.0f} % of the rate in fp32 ({bf16:.0f} and {fp32:.0f} "
    "thousand million "
    "operations per second).",
    "loading": "Images/s against torchvision's `ImageFolder`, reference transforms and `DataLoader`: the same JPEG "
    "files, {workers} workers, "
    "on {processor}; median of {rounds} rounds.",
    "loading columns": "| images | torchvision | streamed | from memory | from disk |",
    "loading peer": "{rate:,.0f} images/s, {memory:.1f} GiB",
    "loading ours": "{ratio:.1f}×, {memory:.1f} GiB",
    "loading set": "about {width} × {height}",
    "kills": "`benchmarks/kills.py` killed runs {kills} times at random moments, {half_written} of them with a checkpoint half written: "
    "{equal} of {runs} runs ended with the bits of the run that was left alone. Other libraries, "
    "killed and resumed by their own means on the same digits (`benchmarks/kill_peers.py`), are listed below; each repeats an undisturbed run "
    "bit for bit.\n\n"
    "| what was trained | kills | with a checkpoint half written | runs that ended with the same bits |\n"
    "|---|---|---|---|\n{rows}",
    "kills row": "| {cell} | {kills} | {half_written} | {equal} of {runs} |",
    "security": "{inputs:,} damaged and hostile files of {kinds} kinds were read by `tests/fuzz/fuzz.py`: {refused:,} were refused in a "
    "sentence, {understood:,} understood all the same, and {harms} ran code, touched another file, crashed, or took more than "
    "{gigabytes:.0f} GiB or {seconds:.0f} s.",
    "distributed": "Two processes of one thread make {shares} of twice the speed of one on {processor}, with a whole "
    "batch of {batch}.",
    "share": "{percent:.0f} % ({network})",
    "and": " and ",
    "networks": "Forward passes and training steps of resnet18, resnet50 and resnext50 ({precision}, batch {batch}, "
    "eager and compiled) run "
    "at {low:.2f} to {high:.2f} times the speed, {median:.3f} at the median, of torchvision's and timm's own modules on "
    "{processor}.",
    "detector": "On {processor}, 2 threads, one seed: `fashion-scenes-c4` finds the garments of {images} unseen scenes "
    "with an AP of "
    "{ap50:.1f} % at IoU 0.5 ({ap:.1f} % at 0.5 to 0.95) after {minutes:.1f} minutes.",
    "segmenter": "`fashion-scenes-fcn` names their pixels with a mean IoU of {iou:.1f} % after {minutes:.1f} minutes, {averaged:.1f} % "
    "with mirror images and several sizes averaged in testing.",
    "detectors' speed": "Detectors run at {ratios} times the speed of torchvision's on the same network, with the same "
    "weights and images.",
    "speed": "{ratio:.2f} ({detector}, {mode})",
    "detector's memory": "{detector} needs {predict:.1f} GiB for a prediction and {train:.1f} GiB for a training step on an image of "
    "{height} × {width} (the whole process).",
    "predict": "prediction",
    "train": "training",
    "comma": ", ",
    "shipping": "Images/s at 224 px on {processor} with {threads} threads, each row from an interleaved run: the default way to predict (as "
    "`open_engine` chooses it in fp32 and bf16; OpenVINO in int8) and our training step, beside torchvision's module as it comes (eager, fp32) "
    "and the fastest other engine in the same precision.",
    "shipping columns": "| network | mode | {batches} |",
    "batch": "batch {batch}",
    "shipped": "{speed:,.1f}/s, {eager:.2f}×",
    "shipped beside": "; {ratio:.2f}× {peer}",
    "quantization": "On {images:,} test images of Fashion-MNIST, a trained small network ({top1:.2f} % in torch fp32): {engines}.",
    "engine's drop": "{engine} {precision} {top1:.2f} % ({same:.2f} % of the images keep their class)",
    "semicolon": "; ",
    "studies columns": "| study | question | held here? | first finding | machine time |",
    "held": "{held} of {counted} claims",
    "finding": "{statement}: {measured}",
    "study minutes": "{minutes:.0f} min",
}

CHINESE = {
    "training": "{processor}，{threads} 个线程，torch {torch}；共 {rounds} 轮。教程自带的训练循环在该机器上每秒处理 "
    "{low:.0f}–{high:.0f} 张图像。",
    "training columns": "| 配方 | 测试准确率 | 训练时间 | 与教程自带循环相比 |",
    "same job": "| `fashion-mnist-tutorial`：同样的任务 | | | 每秒图像数为其 {ratio:.2f}×（{ours:.1f} GiB 对 {theirs:.1f} GiB） |",
    "recipe": "| `{name}` | {top1:.2f} ± {deviation:.2f} %（{rounds} 个种子） | {seconds:.1f} s | 所用时间为其五个 "
    "epoch 的 {ratio:.0f} 分之一 |",
    "arithmetic": "同样的任务在该机器上受算力限制：我们的训练步（bf16）达到该机器实测 bf16 矩阵乘法速率的 {ours:.0f} %，"
    "教程的循环（fp32）达到 fp32 速率的 "
    "{theirs:.0f} %（两种速率分别为每秒 {bf16:.0f} 与 {fp32:.0f} 个十亿次运算）。",
    "loading": "每秒图像数，与 torchvision 的 `ImageFolder`、参考变换和 `DataLoader` 相比：相同的 JPEG 文件，{workers} "
    "个 worker，{processor}；取 {rounds} "
    "轮的中位数。",
    "loading columns": "| 图像 | torchvision | 流式 | 来自内存 | 来自磁盘 |",
    "loading peer": "{rate:,.0f} 张/s，{memory:.1f} GiB",
    "loading ours": "{ratio:.1f}×，{memory:.1f} GiB",
    "loading set": "约 {width} × {height}",
    "kills": "`benchmarks/kills.py` 在随机时刻强制终止运行 {kills} 次，其中 {half_written} 次检查点只写了一半：{runs} 次运行中"
    "有 {equal} 次的结果与未受打扰的运行逐比特相同。"
    "其他库以各自的方式被终止并恢复（`benchmarks/kill_peers.py`），列在下方；未受打扰时它们都能逐比特重复自己。\n\n"
    "| 训练内容 | 终止次数 | 检查点只写了一半 | 结果逐比特相同的运行 |\n"
    "|---|---|---|---|\n{rows}",
    "kills row": "| {cell} | {kills} | {half_written} | {equal} / {runs} |",
    "security": "`tests/fuzz/fuzz.py` 读入了 {kinds} 类共 {inputs:,} 个损坏或恶意的文件：{refused:,} 个被"
    "一句话拒绝，{understood:,} 个仍可读懂，{harms} 个运行了代码、碰了别的文件、崩溃，或占用超过 {gigabytes:.0f} GiB 或 {seconds:.0f} 秒。",
    "distributed": "在 {processor} 上，总批量为 {batch} 时，两个单线程进程的速度为单进程两倍的 {shares}。",
    "share": "{percent:.0f} %（{network}）",
    "and": "与 ",
    "networks": "在 {processor} 上，resnet18、resnet50 和 resnext50 的前向计算与训练步（{precision}，批量 {batch}，"
    "eager 与编译两种模式）的速度是 "
    "torchvision 和 timm 自身模块的 {low:.2f} 至 {high:.2f} 倍，中位数为 {median:.3f} 倍。",
    "detector": "在 {processor} 上（2 个线程，一个种子）：`fashion-scenes-c4` 训练 {minutes:.1f} 分钟后，在 {images} 个"
    "未见过的场景中检测服饰，IoU 0.5 时的 AP 为 "
    "{ap50:.1f} %（IoU 0.5 至 0.95 时为 {ap:.1f} %）。",
    "segmenter": "`fashion-scenes-fcn` 训练 {minutes:.1f} 分钟后，逐像素分类的平均 IoU 为 {iou:.1f} %；"
    "测试时对镜像和多种尺寸取平均则为 {averaged:.1f} %。",
    "detectors' speed": "在相同网络、相同权重和相同图像上，检测器的速度是 torchvision 的 {ratios} 倍。",
    "speed": "{ratio:.2f}（{detector}，{mode}）",
    "detector's memory": "{detector} 在一张 {height} × {width} 的图像上预测需 {predict:.1f} GiB，训练一步需 {train:.1f} GiB（整个进程）。",
    "predict": "预测",
    "train": "训练",
    "comma": "、",
    "shipping": "每秒图像数（224 px，{processor}，{threads} 个线程，每行出自一次交错运行）：默认的预测路径（fp32 与 bf16 由 `open_engine` "
    "选择，int8 为 OpenVINO）和我们的训练步，与 torchvision 自身的模块（eager、fp32）以及同精度下最快的其他引擎相比。",
    "shipping columns": "| 网络 | 模式 | {batches} |",
    "batch": "批量 {batch}",
    "shipped": "{speed:,.1f}/s，{eager:.2f}×",
    "shipped beside": "；{ratio:.2f}× {peer}",
    "quantization": "在 {images:,} 张 Fashion-MNIST 测试图像上，训练好的小网络（torch fp32：{top1:.2f} %）：{engines}。",
    "engine's drop": "{engine} {precision} {top1:.2f} %（{same:.2f} % 的图像类别不变）",
    "semicolon": "；",
    "studies columns": "| 研究 | 问题 | 在此是否成立？ | 首个发现 | 机器时间 |",
    "held": "{counted} 条论断中的 {held} 条",
    "finding": "{statement}：{measured}",
    "study minutes": "{minutes:.0f} 分钟",
}

WORDS = {"en": ENGLISH, "zh": CHINESE}
"""By language: words in which numbers have their places, by what they are for."""

RECORDED_IN_CHINESE = {
    "Do plain networks get worse with depth on the training set, and residual ones not?": "随着深度增加，普通网络在训练集上是否变差，而残差网络不会？",  # noqa: E501
    "Do projections help more than parameter-free shortcuts?": "投影捷径是否比无参数捷径更有效？",
    "Is any other shortcut as good as the identity?": "是否有其他捷径与恒等映射一样好？",
    "Where do batch norm and ReLU belong?": "批归一化和 ReLU 应放在哪里？",
    "How deep can a network be made, with the original and with the pre-activation unit?": "用原始单元和预激活单元，网络能做到多深？",
    "Is a wide shallow network better than a thin deep one of as many parameters?": "参数量相同时，宽而浅的网络是否优于窄而深的网络？",
    "Do more groups help more than width or depth, at equal cost?": "计算量相同时，增加分组是否比增加宽度或深度更有效？",
    "Do residual connections speed up Inception, and does scaling the residuals keep it stable?": "残差连接能否加速 Inception 的训练，缩放残差能否使其稳定？",  # noqa: E501
    "What do shortcuts do to responses and gradients?": "捷径对响应和梯度有何影响？",
    "What does a bottleneck save in parameters and cost?": "瓶颈结构节省多少参数和计算量？",
    "has a higher training error than": "的训练误差高于",
    "has a higher test error than": "的测试误差高于",
    "the identity": "恒等映射",
    "the original order": "原始顺序",
    "BN after addition": "加法之后 BN",
    "with 0.9 x + F the gradient through the shortcuts is the product of the scales": "对 0.9 x + F，经过捷径的梯度等于各缩放系数之积",
    "the basic unit, 256 has": "256 通道的基本单元的权重数是 256 通道瓶颈单元的",
    "times the weights of the bottleneck unit, 256": "倍",
    "the fast recipe's own": "快速配方自带的网络",
    " at 28 x 28": "，输入 28 x 28",
    "(95 % interval": "（95 % 区间",
    " to ": " 至 ",
    "measured / product - 1": "实测值 / 乘积 - 1 =",
    "points": "个百分点",
    "times": "倍",
}
"""What records say, and parts of it; the longest are replaced first."""


def in_chinese(text: str) -> str:
    """A record's sentence as far as its words are known here; numbers and names of networks stay."""
    for english in sorted(RECORDED_IN_CHINESE, key=len, reverse=True):
        text = text.replace(english, RECORDED_IN_CHINESE[english])
    text = text.replace(")", "）") if "（" in text else text
    return re.sub(r"(?<=[\u3000-\u9fff]) (?=[\u3000-\u9fff])| (?=（)", "", text)
