"""Real networks, trained end to end on the same laws of mixing and the same batches as the theory."""

from rfm.networks.modules import MLP, ConvNet
from rfm.networks.network import Network, num_parameters
from rfm.networks.resnet import ResNet18
from rfm.networks.training import NetworkRuns, Trained, train

__all__ = ["MLP", "ConvNet", "Network", "NetworkRuns", "ResNet18", "Trained", "num_parameters", "train"]
