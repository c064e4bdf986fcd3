"""Which columns of the training log (hpt_core.schemas.TRAIN_LOG) pages plot."""

CURVES = {
    "reward": "Reward, mean over rollouts",
    "success_rate": "Success rate of rollouts",
    "validation_reward": "Reward on held-out questions",
    "demonstration_share": "Questions gated to their demonstration",
    "entropy": "Policy entropy, nats",
    "response_tokens": "Response length, tokens",
    "demonstration_nll": "Negative log-likelihood of demonstrations, nats a token",
    "gradient_norm": "Gradient norm before clipping",
}
"""Column -> title of its figure."""
