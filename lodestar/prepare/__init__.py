"""Step 1: sources → cleaning → examples → splits → tokens → batches."""
