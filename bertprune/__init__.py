"""bertprune: weight pruning of BERT and its effect on transfer, as a re-executable book."""

import os
import warnings

__version__ = "0.1.0"

# Threads that wait for each other by spinning make a training step up to ten times slower as soon
# as another process wants a core too; sleeping costs some ten percent when none does. To be set
# before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Libraries that we import would like to draw progress bars as widgets. Ours are text.
warnings.filterwarnings("ignore", message="IProgress not found")
