"""Where inputs, labels and the ground truth come from: tasks, truths, data sets."""

from rfm.data.datasets import DATASETS, DataSet, KernelTruth, RawData, load_dataset, prepare, read_arrays
from rfm.data.tables import Table, load_table
from rfm.data.tasks import DataTask, GaussianTask, TeacherStudent
from rfm.data.truths import GaussianTruth, LinearTruth, QuadraticTruth, TwoLayerTeacher
from rfm.sample import Sample, Truth

__all__ = [
    "DATASETS",
    "DataSet",
    "DataTask",
    "GaussianTask",
    "GaussianTruth",
    "KernelTruth",
    "LinearTruth",
    "QuadraticTruth",
    "RawData",
    "Sample",
    "Table",
    "TeacherStudent",
    "Truth",
    "TwoLayerTeacher",
    "load_dataset",
    "load_table",
    "prepare",
    "read_arrays",
]
