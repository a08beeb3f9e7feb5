"""See what a large model takes on another machine, before a byte is downloaded."""

import dslocal

for quant in ("Q4_K_M", "Q2_K"):
    plan = dslocal.plan("deepseek-r1", quant=quant, ram="512GiB", vram="24GiB", os="linux")
    low, high = plan.tokens_per_second
    print(
        f"{plan.model} {plan.quant}: {plan.verdict}, {plan.memory.all.total / 2**30:.0f} GiB, "
        f"{plan.settings.n_ctx:,} tokens of context, {low:.1f} to {high:.1f} tokens/s"
    )
