"""bertprune: weight pruning of BERT and its effect on transfer, as a re-executable book."""

import warnings

__version__ = "0.1.0"

# Libraries that we import would like to draw progress bars as widgets. Ours are text.
warnings.filterwarnings("ignore", message="IProgress not found")
