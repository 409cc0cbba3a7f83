"""Learning the albedo model of OpenHead from portraits."""

import os

# One thread, so that sums are taken in one order only; numerical libraries read this when they are loaded.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
