"""LeNet Lens: the contract."""
