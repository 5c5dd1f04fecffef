"""Every key of a detection config, with its default: COCO, 12 epochs ("1x").

A config changes what it needs; a key that is not here is an error. What follows from the data (class names and count,
splits, image folders, evaluator) is read from the data, never typed; what follows from other keys (channels and strides
of the network, the learning rate for the batch, loading and packing around the pipelines) is computed when the run
starts.
"""

from mmdet.datasets.transforms import RandomFlip, Resize

# --- data -------------------------------------------------------------------------------------------------------------
data_root = "data/coco"  # COCO's own layout; or one's own data, of any layout that is recognised: `--data PATH`
data_format = None  # "coco", "yolo", "voc" or "masks"; None: recognised
classes = None  # names to train on, in the order of their labels; None: all the data have
train_split = "train"
val_split = "val"  # None: no validation, the last epoch is the result; drawn from train if the data have none
train_pipeline = [  # transforms between the loading of image and annotations and their packing
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),  # longest and shortest side in pixels
    dict(type=RandomFlip, prob=0.5),
]
test_pipeline = [dict(type=Resize, scale=(1333, 800), keep_ratio=True)]
augment = None  # "light" or "strong": Albumentations presets after train_pipeline
repeat = 1  # times the training images are gone through in one epoch
batch_size = 2  # images per GPU
num_workers = 2  # per GPU

# --- network ----------------------------------------------------------------------------------------------------------
model = (
    None  # arguments of densekit.models.assemble (backbone, neck, head), or an ordinary MMEngine config with its type
)
pretrained = (
    True  # True: the backbone's own weights; False: from scratch; or a weights file, a torchvision or timm name
)

# --- optimisation -----------------------------------------------------------------------------------------------------
max_epochs = 12
lr_batch = 16  # the learning rate below is for so many images a step; scaled in proportion to the run's; None: not
optimizer = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
paramwise = None  # MMEngine's paramwise_cfg, e.g. dict(bias_lr_mult=2.0)
clip_grad = None  # L2 norm; None: off
accumulate = 1  # optimizer steps once per so many iterations
schedule = [
    dict(type="LinearLR", start_factor=0.001, end=500, by_epoch=False),
    dict(type="MultiStepLR", milestones=[8, 11], gamma=0.1),  # ends at max_epochs; by epoch unless by_epoch=False
]
amp = None  # None, "bf16" (CPU or GPU) or "fp16" (GPU)
channels_last = False  # memory format of the network; True is faster on GPUs with amp, and on CPUs
ema = None  # momentum of a moving average of the weights, e.g. 0.0002
load_from = None  # checkpoint whose weights to start from

# --- validation -------------------------------------------------------------------------------------------------------
val_interval = 1  # epochs
max_dets = 100  # detections of each class and image that AP counts, the best ones; COCO: 100
score_threshold = 0.3  # what pictures and predictions show; AP counts all detections

# --- run --------------------------------------------------------------------------------------------------------------
seed = 0
deterministic = False
log_interval = 50  # iterations
checkpoint_interval = 1  # epochs between two writings of last.pth
pictures = 4  # images in the validation picture; 0: none
custom_hooks = []  # MMEngine hooks
