"""What ask and fim share: input, samples, and the output of an answer."""
