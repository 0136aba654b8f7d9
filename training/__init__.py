"""Makes the artifact: trains LeNet5 on MNIST and exports it; the only package that imports torch."""

import os

# Torch's OpenMP threads wait for each other in a busy loop, and reads this when it is loaded. Beside another program
# on the same cores, that made an epoch take 105 s instead of 6 s; sleeping threads share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
