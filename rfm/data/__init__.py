"""Where inputs, labels and the ground truth come from: tasks, truths, data sets."""

from rfm.data.datasets import DATASETS, KernelTruth, RawData, load_dataset, prepare
from rfm.data.frames import arrays_of
from rfm.data.frozen import Encoder, MixedFeatures, read_mixed
from rfm.data.reading import read_arrays, read_data
from rfm.data.scaling import DataSet
from rfm.data.tables import Table, load_table
from rfm.data.tasks import DataTask, GaussianTask, TeacherStudent
from rfm.data.truths import GaussianTruth, LinearTruth, QuadraticTruth, TwoLayerTeacher
from rfm.sample import Sample, Truth

__all__ = [
    "DATASETS",
    "DataSet",
    "DataTask",
    "Encoder",
    "GaussianTask",
    "GaussianTruth",
    "KernelTruth",
    "LinearTruth",
    "MixedFeatures",
    "QuadraticTruth",
    "RawData",
    "Sample",
    "Table",
    "TeacherStudent",
    "Truth",
    "TwoLayerTeacher",
    "arrays_of",
    "load_dataset",
    "load_table",
    "prepare",
    "read_arrays",
    "read_data",
    "read_mixed",
]
