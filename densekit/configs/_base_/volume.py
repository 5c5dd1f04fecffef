"""Every key of a 3D training config, with its default. A config changes what it needs; a key not here is an error.

What follows from the data set (class names and count, intensity statistics, splits) is read from the prepared folder,
never typed; what follows from other keys (the end of the schedule, the augmentation of the patch) is computed when the
run starts.
"""

# --- data -------------------------------------------------------------------------------------------------------------
data_root = None  # prepared folder (`densekit prepare`); `--data PATH` overrides it
train_split = "train"  # a split of the data set; several joined by "+", e.g. "train+val"
val_split = "val"  # None: no validation, the last epoch is the result
patch_size = (64, 128, 128)  # (D, H, W) voxels of the prepared grid
batch_size = 2  # per GPU
iterations_per_epoch = 250
foreground_ratio = 1 / 3  # share of a batch's patches that are centred on a foreground voxel, rounded up
num_workers = 2
train_pipeline = (
    "nnunet"  # "nnunet", None (no augmentation), or a list of transforms (MONAI's dictionary transforms by name)
)
mirror_axes = ("left-right", "anterior-posterior", "superior-inferior")
mirror_relabel = True  # a left/right mirror swaps paired labels; False mirrors the picture only (nnFormer's recipe)

# --- network ----------------------------------------------------------------------------------------------------------
model = None  # dict(type=VolumeSegmentor, backbone=..., neck=..., head=...); class and channel counts are filled in

# --- optimisation -----------------------------------------------------------------------------------------------------
max_epochs = 1000
optimizer = dict(type="SGD", lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
clip_grad = 12.0  # L2 norm; None: off
accumulate = 1  # optimizer steps once per so many iterations, which must divide iterations_per_epoch
schedule = [dict(type="PolyLR", power=0.9, eta_min=0.0)]  # ends at max_epochs; by epoch unless by_epoch=False
amp = None  # None, "bf16" (CPU or GPU) or "fp16" (GPU)
ema = None  # momentum of a moving average of the weights, e.g. 0.001
compile = False  # torch.compile of backbone and neck
channels_last = False  # channels_last_3d memory format
load_from = None  # checkpoint whose weights to start from

# --- validation and inference -----------------------------------------------------------------------------------------
val_interval = 50  # epochs
inference = dict(overlap=0.5, batch=1, weights="gaussian", mirror_axes=())  # window: patch_size unless given
convention = None  # empty masks: "transunet", "nnformer" or "strict"; None: the data set's own
surface_metrics = False  # HD95 and surface Dice at every validation too (slower)

# --- run --------------------------------------------------------------------------------------------------------------
seed = 0
deterministic = False
log_interval = 50  # iterations
checkpoint_interval = 1  # epochs between two writings of last.pth
pictures = 4  # cases in the validation picture, a row each; 0: none
custom_hooks = []  # MMEngine hooks
