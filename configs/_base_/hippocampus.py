"""Data and a 20-minute recipe for 2 CPU cores: MSD Task04, hippocampus in brain MRI, anterior and posterior part.

Prepare: densekit prepare msd PATH/Task04_Hippocampus data/hippocampus
"""

data_root = "data/hippocampus"
patch_size = (40, 56, 40)
batch_size = 4
num_workers = 1
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=1e-2)
schedule = [
    dict(type="LinearLR", start_factor=0.05, end=50, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False),
]
foreground_ratio = 0.5
val_interval = 5
# The crops hold one hippocampus, of either side, so a left/right mirror changes no label.
