"""Identity Mappings in Deep Residual Networks: He, Zhang, Ren, Sun 2016 (1603.05027), §3 for CIFAR and §5 for ImageNet."""

from __future__ import annotations

from . import he2015

# As He 2015 for CIFAR-10, with the warm-up (0.01 for the first 400 iterations) in all experiments, which pre-activation would not
# need.
# Command:   resnets train cifar10-he2016 --network cifar-preact-resnet164       (or 110, 1001; --data cifar100)
# Hardware:  published: 2 GPUs, not named
# Time:      published: about 27 hours for 1001 layers (§5). Not measured yet
# Result:    published: 6.37, 5.46, 4.92 % test error with 110, 164, 1001 layers; on CIFAR-100 24.33, 22.71 % with 164, 1001; medians
#            of 5 runs (Table 3). Not measured yet
CIFAR = he2015.CIFAR_110.updated(name="cifar10-he2016", network="cifar-preact-resnet164")

# As He 2015 for ImageNet, 0.1 divided by 10 after 30 and 60 epochs, without warm-up; evaluated at 320 x 320 pixels.
# Command:   resnets train imagenet-he2016 --data-folder FOLDER --network preact-resnet200
# Hardware:  published: 8 GPUs, not named
# Time:      published: about 3 weeks for 200 layers (§5). Not measured yet
# Result:    published: 21.1 % top-1 error with 152 layers, 20.7 % with 200 (Table 5). Not measured yet
# Different: the paper does not say where it ends; 90 epochs, three equal parts, are our reading.
IMAGENET = he2015.IMAGENET.updated(
    name="imagenet-he2016",
    network="preact-resnet200",
    epochs=90,
    max_steps=None,
    schedule={"milestones": (30 / 90, 60 / 90)},
    evaluation={"image_size": 320, "resize": 320},
)
