"""Training: the loop, pre-training and fine-tuning."""
