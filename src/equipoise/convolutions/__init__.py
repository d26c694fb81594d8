"""What makes regularisers of convolutions fast: tiles, kernels, gradients, norms, inverses."""
