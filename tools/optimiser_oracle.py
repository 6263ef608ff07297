#!/usr/bin/env python3
"""Writes tests/data/optimiser_oracle.h, for tests/test_train.c: what torch.optim.AdamW makes of two weights in ten steps.

    python3 tools/optimiser_oracle.py > tests/data/optimiser_oracle.h

Development only.  Values and gradients are small fractions that single precision holds exactly, so that both sides
start from the same bits; the learning rate falls by a cosine after two steps of warm-up; gradients are clipped to 1.
"""
import math
import textwrap

import torch

ROWS, COLUMNS, LENGTH, STEPS, WARMUP = 6, 5, 7, 10, 2
RATE, BETAS, EPSILON, DECAY, CLIP, LEAST = 0.01, (0.9, 0.95), 1e-8, 0.1, 1.0, 0.1


def start(i):
    return ((i * 37) % 23 - 11) / 16


def slope(i, step):
    return ((i * 29 + step * 13) % 31 - 15) / (4 if step % 3 else 64)


def rate(step):
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    done = (step - WARMUP) / (STEPS - WARMUP)
    return RATE * (LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * done)))


def numbers(name, values):
    text = ", ".join(float(v).hex() for v in values)
    print(f"static const double {name}[] = {{")
    print(textwrap.fill(text, 120, initial_indent="    ", subsequent_indent="    ") + "\n};")


def main():
    n = ROWS * COLUMNS
    matrix = torch.nn.Parameter(torch.tensor([start(i) for i in range(n)]).view(ROWS, COLUMNS))
    vector = torch.nn.Parameter(torch.tensor([start(n + i) for i in range(LENGTH)]))
    groups = [{"params": [matrix], "weight_decay": DECAY}, {"params": [vector], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    norms, values = [], []
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        matrix.grad = torch.tensor([slope(i, step) for i in range(n)]).view(ROWS, COLUMNS)
        vector.grad = torch.tensor([slope(n + i, step) for i in range(LENGTH)])
        norms.append(torch.nn.utils.clip_grad_norm_([matrix, vector], CLIP))
        optimiser.step()
        values += matrix.detach().flatten().tolist() + vector.detach().tolist()
    print(f"/* Written by tools/optimiser_oracle.py with torch {torch.__version__}. */")
    print(f"enum {{ ORACLE_ROWS = {ROWS}, ORACLE_COLUMNS = {COLUMNS},"
          f" ORACLE_LENGTH = {LENGTH}, ORACLE_STEPS = {STEPS} }};")
    numbers("oracle_norms", norms)
    print("/* After each step: the matrix, then the vector. */")
    numbers("oracle_values", values)


main()
