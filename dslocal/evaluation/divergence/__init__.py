"""Compare the predictions of two models for a text: KL divergence, agreement, perplexity.

The protocol, the file of a reference's probabilities and the figures are llama-perplexity's.
Source: llama.cpp, tools/perplexity/perplexity.cpp (``perplexity`` and ``kl_divergence``).
"""
