"""A network with its loss and data, by their names: a user's own, or the library's."""

from __future__ import annotations

from typing import Any

from lagrangian.networks.datasets import DATASETS, make_dataset
from lagrangian.networks.digits import cross_entropy
from lagrangian.networks.networks import default_network, mean_square
from lagrangian.networks.user import load_model, make_model
from lagrangian.networks.user_data import load_data

#: For a network without data of its own.
DEFAULT_DATA = "digits"


def load_subject(
    model: str | None = None, data: str | None = None, seed: int = 0
) -> tuple[Any, Any, tuple[Any, Any]]:
    """(model, loss, (inputs, targets)), as `train` takes them.

    Args:
        model: "module:Class", whose module is imported: its code runs. Without it, a
            network of the library's that fits the data.
        data: a file or folder, or the name of a set; `DEFAULT_DATA` without it.
        seed: of the initial parameters, and of a set that is generated.

    Raises:
        LagrangianError: there is no such model or data, or one does not fit the other.
    """
    chosen = data or DEFAULT_DATA
    dataset = make_dataset(chosen, seed) if chosen in DATASETS else load_data(chosen)
    factory = load_model(model) if model else default_network(dataset)
    network = make_model(factory, dataset, seed)
    loss = mean_square if dataset.classes is None else cross_entropy
    return network, loss, (dataset.inputs, dataset.targets)
