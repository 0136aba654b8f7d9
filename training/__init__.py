"""Makes the artifact: trains LeNet5 on MNIST and exports it; the only package that imports torch."""
