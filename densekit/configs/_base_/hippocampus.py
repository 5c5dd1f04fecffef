"""Data and a 20-minute recipe for 2 CPU cores: MSD Task04, anterior and posterior hippocampus in brain MRI.

The crops hold one hippocampus, of either side, so a left/right mirror changes no label; a mirror along the other axes
would turn anterior into posterior, or the brain upside down.
"""

data_root = "data/hippocampus"
patch_size = (40, 56, 40)
batch_size = 2
num_workers = 1
mirror_axes = ("left-right",)
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=1e-2)
schedule = [
    dict(type="LinearLR", start_factor=0.05, end=50, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False),
]
ema = 0.005
foreground_ratio = 0.5
iterations_per_epoch = 100
val_interval = 12
inference = dict(overlap=0.5, batch=1, weights="gaussian", mirror_axes=("left-right",))
