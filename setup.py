from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "densekit" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="densekit",
    version=VERSION,
    description="Dense prediction for radiology and detection: 3D segmentation of CT and MRI, COCO detection, ADE20K.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["densekit", "densekit.*"]),
    package_data={
        "densekit": [
            "configs/*.py",
            "configs/_base_/*.py",
            "visualization/shared/templates/*",
            "datasets/segmentation/class_lists/*.csv",
        ]
    },
    entry_points={"console_scripts": ["densekit=densekit.cli:main"]},
    # Lower bounds are what the code uses, upper bounds what has been tried; the onedl-* distributions are the
    # maintained continuation of OpenMMLab's packages under the same import names (never mix them with the originals).
    install_requires=[
        "torch>=2.8,<2.15",
        "torchvision>=0.23,<0.30",
        "timm>=1.0.19,<2",
        "onedl-mmengine>=0.10.12,<0.11",
        "onedl-mmcv>=2.3.6,<2.4",
        "onedl-mmdetection>=3.5.1,<3.6",
        "onedl-mmsegmentation>=1.4.2,<1.5",
        "monai>=1.6,<1.7",
        "nibabel>=5.3,<6",
        "SimpleITK>=2.4,<3",
        "albumentations>=1.4.24,<2",
        "hotcoco>=1.3,<2",
        "opencv-python>=4.9",
        "av>=14,<19",  # H.264 for videos; the wheels hold FFmpeg with x264 (GPL); OpenCV writes without it
        "numpy>=1.26,<3",
        "safetensors>=0.4.5",
        "scipy>=1.13,<2",
        "einops>=0.8,<0.9",  # MONAI's transformers (UNETR, SwinUNETR) need it, and do not ask for it
        "h5py>=3.11,<4",
        "isal>=1.7,<2",
        "pillow>=10.3",
        "matplotlib>=3.9,<4",
        "jinja2>=3.1,<4",
        "pyyaml>=6,<7",
        "rasterio>=1.4,<2",  # large images by windows, GeoTIFF with its coordinates
        "tqdm>=4.66,<5",
        "packaging>=23",
        "tensorboard>=2.17,<3",  # what MMEngine writes a run's curves with
    ],
    extras_require={
        "dev": ["pycocotools>=2.0.8", "pytest>=8,<10", "pytest-xdist>=3.6,<4", "ruff>=0.12", "medpy>=0.5.2,<0.6"],
        "supervision": ["supervision>=0.25,<1"],  # what is found in an image, for its trackers and annotators
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
