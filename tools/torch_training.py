"""Training as docs/METHODS.md, "Training", defines it, in PyTorch: batches, learning rates, optimiser, masks.

For tools/train_parity.py.  The order of documents is drawn as src/train/batches.c draws it; nothing else is taken from
the C code.
"""

import math

import torch

MASK64 = (1 << 64) - 1


class Random:
    """xoshiro256** seeded by splitmix64, as src/base/rng.c."""

    def __init__(self, seed):
        self.s = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & MASK64
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
            self.s.append(z ^ (z >> 31))

    @staticmethod
    def turn(x, n):
        return ((x << n) | (x >> (64 - n))) & MASK64

    def next(self):
        s = self.s
        result, t = self.turn(s[1] * 5 & MASK64, 7) * 9 & MASK64, s[1] << 17 & MASK64
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = self.turn(s[3], 45)
        return result

    def below(self, n):
        reject, x = (1 << 64) % n, 0
        while True:
            x = self.next()
            if x >= reject:
                return x % n


def orders(n, seed):
    """The order of n documents, epoch after epoch, without end."""
    first, epoch = Random(seed).next(), 0
    while True:
        random, order = Random((first + epoch) & MASK64), list(range(n))
        for i in range(n, 1, -1):
            j = random.below(i)
            order[i - 1], order[j] = order[j], order[i - 1]
        yield order
        epoch += 1


def rows(documents, context, seed):
    """Rows of `context` pairs (token, first of its piece?): documents end to end, cut where a row is full."""
    row = []
    for order in orders(len(documents), seed):
        for index in order:
            for at, token in enumerate(documents[index]):
                row.append((token, at == 0 or not row))
                if len(row) == context:
                    yield row
                    row = []


def batch_of(rows):
    """tokens [rows][context], and the number of the piece that each lies in, counted within its row."""
    tokens = torch.tensor([[token for token, _ in row] for row in rows])
    pieces = torch.tensor([[first for _, first in row] for row in rows]).long().cumsum(1)
    return tokens, pieces


def loss_of(model, tokens, pieces, across):
    """Mean nll over predicted tokens.  Not across documents: a block-diagonal mask, positions from 0 in each piece."""
    n_rows, n = tokens.shape
    same = pieces[:, :, None] == pieces[:, None, :]
    visible = torch.ones(n, n).tril().bool() & (torch.tensor(True) if across else same)
    mask = torch.zeros(n_rows, 1, n, n).masked_fill(~visible.expand(n_rows, n, n)[:, None], -torch.inf)
    positions = torch.arange(n).expand(n_rows, n)
    if not across:
        starts = torch.where(pieces.diff(dim=1, prepend=torch.zeros(n_rows, 1)) > 0, positions, 0).cummax(1).values
        positions = positions - starts
    logits = model(tokens, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, :-1]
    targets = tokens[:, 1:]
    if not across:  # the first token of a piece has no past
        targets = targets.masked_fill(pieces[:, 1:] != pieces[:, :-1], -100)
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def learning_rate(step, height, n_steps, n_warmup, least, schedule="cosine"):
    """Of step `step`, counted from 0."""
    if step < n_warmup:
        return height * (step + 1) / n_warmup
    if schedule == "constant":
        return height
    done = (step - n_warmup) / (n_steps - n_warmup)
    return height * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimiser(model, betas, epsilon, weight_decay, **how):
    """AdamW; matrices decay, gains and biases do not."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=betas, eps=epsilon, **how)


def step(model, optimiser, loss, rate, clip):
    """Backward, clip, update; returns (loss, norm of the gradient before clipping)."""
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip if clip > 0 else math.inf)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.item(), norm.item()
