"""Reinforcement: the loss beside TRL's on the same tensors, rounds that resume to the same bits, and a reward that rises."""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import RewardSettings
from lodestar.contracts.task import Problem
from lodestar.train.grpo import Reinforcement, Rollouts, advantages, grpo_loss, mean_reward, write
from lodestar.train.loop import train
from lodestar.train.preference import Reference
from lodestar.train.scoring import token_log_probabilities

STOP, PAD = 14, 15


def logs(seed: int, shape: tuple[int, int] = (6, 9)) -> Tensor:
    return -torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2


def their_loss(new: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, mask: Tensor, settings: RewardSettings) -> Tensor:
    """TRL's own loss, given log-probabilities instead of a model to compute them with."""
    high = settings.clip if settings.clip_high is None else settings.clip_high
    inputs = {
        "prompt_ids": torch.zeros(len(new), 2).long(), "prompt_mask": torch.ones(len(new), 2).long(),
        "completion_ids": torch.zeros(new.shape).long(), "completion_mask": mask.long(), "advantages": advantage,
        "old_per_token_logps": old, "ref_per_token_logps": reference, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    self = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (new, torch.zeros_like(new), None), aux_loss_enabled=False,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token", beta=settings.beta,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1), use_vllm=False,
        epsilon_low=settings.clip, epsilon_high=high,
        loss_type={"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}[settings.average],
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1, max_completion_length=settings.max_tokens,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics={"train": defaultdict(list)}, _entropy_bonus_enabled=False,
    )  # fmt: skip
    loss: Tensor = importlib.import_module("trl").GRPOTrainer._compute_loss(self, None, inputs)
    return loss


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
@pytest.mark.parametrize("fields", [{}, {"clip_high": 0.28}, {"beta": 0.0}, {"clip": 0.5, "beta": 0.4}])
def test_the_loss_is_trls(average: Any, fields: dict[str, Any]) -> None:
    settings = RewardSettings(average=average, max_tokens=20, **fields)
    ours, theirs = (logs(0).requires_grad_() for _ in range(2))
    old, reference = logs(0) + 0.8 * (logs(1) + 1), logs(2)
    mask = torch.arange(9) < torch.tensor([[9], [1], [4], [7], [2], [9]])
    advantage = torch.tensor([1.2, -0.7, 0.0, 2.0, -1.5, -0.1])
    clipped = (ours - old).exp() > 1 + settings.clip
    assert 0 < int((clipped & mask).sum()) < int(mask.sum())
    total, terms = grpo_loss(ours, old, advantage, mask, settings, reference)
    expected = their_loss(theirs, old, reference, advantage, mask, settings)
    torch.testing.assert_close(total / terms, expected, rtol=1e-5, atol=1e-5)
    (total / terms).backward()
    expected.backward()
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(advantages(rewards, "centred"), torch.tensor([[0.75, -0.25, -0.25, -0.25], [0.0, 0.0, 0.0, 0.0]]))
    expected = torch.tensor([[1.5, -0.5, -0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(advantages(rewards, "normalised"), expected, rtol=1e-3, atol=1e-6)


# Rounds


def decode(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def sum_reward(texts: Sequence[str], expected: Sequence[int]) -> list[float]:
    return [float(text == str(number)) for text, number in zip(texts, expected, strict=True)]


PROBLEMS = [Problem([10, a, 11, b], a + b) for a in range(5) for b in range(5)]
"""a + b = : one token each, and the answer is one, too, with STOP behind it."""


def rollouts(model: Any, reward: Any = sum_reward, reference: Reference | None = None, rows: int = 8, **fields: Any) -> Rollouts:
    settings = RewardSettings(**{"prompts": 4, "group": 4, "max_tokens": 3, "beta": 0.0, **fields})
    return Rollouts(model, PROBLEMS, reward, settings, decode=decode, stops=[STOP], pad=PAD, rows=rows, seed=0, reference=reference)


def test_replies_are_those_of_a_prompt_alone(toy: ModuleType) -> None:
    model = toy.make_model(dropout=0.3).train()
    prompts = [[1, 2, 3, 4], [5], [6, 7]]
    together = write(model, prompts, 6, stops=[STOP], pad=PAD, temperature=0.0, seed=0)
    assert together == [write(model, [prompt], 6, stops=[STOP], pad=PAD, temperature=0.0, seed=0)[0] for prompt in prompts]
    assert model.training  # as it was, and no dropout meanwhile
    assert together == write(model, prompts, 6, stops=[STOP], pad=PAD, temperature=0.0, seed=0)
    ended = write(model, prompts, 6, stops=[together[0][1]], pad=PAD, temperature=0.0, seed=0)[0]
    assert ended == together[0][: together[0].index(together[0][1]) + 1]


def test_a_round_is_sampled_judged_and_remembered(toy: ModuleType) -> None:
    model = toy.make_model(dropout=0.0)
    calls: list[tuple[list[str], list[int]]] = []

    def reward(texts: Sequence[str], expected: Sequence[int]) -> list[float]:
        calls.append((list(texts), list(expected)))
        return [float(number % 3) for number in range(len(texts))]

    loader = rollouts(model, reward, reference=torch.no_grad, beta=0.1, epochs=2)
    batches = [loader.next_batch() for _ in range(4)]
    assert len(calls) == 1  # sixteen replies, eight a batch, each learnt from twice
    texts, expected = calls[0]
    assert len(texts) == 16
    assert [expected[place : place + 4] for place in (0, 4, 8, 12)] == [[expected[place]] * 4 for place in (0, 4, 8, 12)]
    for epoch in (batches[:2], batches[2:]):
        rows = torch.cat([batch["advantage"] for batch in epoch])
        assert rows.sum().item() == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        for batch in batches:
            now = token_log_probabilities(model, batch)
            torch.testing.assert_close(batch["old"], now, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(batch["reference"], now, rtol=1e-5, atol=1e-5)
    loader.next_batch()
    assert len(calls) == 2
    assert loader.history[0]["reward"] == pytest.approx(15 / 16)
    assert loader.history[0]["signal"] == 1.0


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
def test_what_is_written_down_is_what_is_missing_of_the_reward(toy: ModuleType, average: Any) -> None:
    settings = RewardSettings(average=average, max_tokens=3, beta=0.0)
    model = toy.make_model(dropout=0.0)
    batch = rollouts(model, lambda texts, _: [float(number % 3) for number in range(len(texts))], rows=16).next_batch()
    total, terms = Reinforcement(settings).loss(model, batch)
    new = token_log_probabilities(model, batch)
    plain, same_terms = grpo_loss(new, batch["old"], batch["advantage"], batch["scored"], settings)
    if average != "token":
        assert (total / terms).item() == pytest.approx(1 - 15 / 16)
    assert terms == same_terms
    weights = list(model.parameters())
    for ours, expected in zip(torch.autograd.grad(total, weights), torch.autograd.grad(plain, weights), strict=True):
        assert torch.equal(ours, expected)


def test_every_problem_has_its_turn(toy: ModuleType) -> None:
    seen: list[int] = []
    problems = [Problem([number], number) for number in range(6)]

    def reward(texts: Sequence[str], expected: Sequence[int]) -> list[float]:
        seen.extend(expected[::2])
        return [0.0] * len(texts)

    settings = RewardSettings(prompts=4, group=2, max_tokens=1, beta=0)
    loader = Rollouts(toy.make_model(), problems, reward, settings, decode=decode, stops=[STOP], pad=PAD, rows=8, seed=3)
    for _ in range(3):
        loader.next_batch()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_a_resumed_run_learns_from_the_same_replies(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.make_settings(7, checkpoint_every=3)

    class CutOff(Exception):  # noqa: N818
        pass

    def run(out: Path, cut: int | None = None) -> Rollouts:
        model = toy.make_model(dropout=0.0)
        loader = rollouts(model, reference=torch.no_grad, beta=0.1, steps=2, epochs=2)
        inner, calls = loader.next_batch, 0

        def next_batch() -> Any:
            nonlocal calls
            calls += 1
            if calls == cut:
                raise CutOff
            return inner()

        loader.next_batch = next_batch  # type: ignore[method-assign]
        train(Reinforcement(RewardSettings(beta=0.1, max_tokens=3)), model, loader, list, settings, out, save=toy.save)
        return loader

    whole = run(tmp_path / "whole")
    with pytest.raises(CutOff):
        run(tmp_path / "cut", cut=6)
    resumed = run(tmp_path / "cut")
    assert resumed.history == whole.history
    assert len(whole.history) == 2
    paths = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "cut")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_cannot_work_is_refused_before_anything_is_sampled(toy: ModuleType) -> None:
    model = toy.make_model()
    with pytest.raises(UserError, match=r"the longest prompt \(4 tokens\) and reward\.max_tokens \(21\) exceed the context of 24 tokens"):
        rollouts(model, max_tokens=21)
    with pytest.raises(UserError, match="3 replies a batch do not divide the 16 of a step"):
        rollouts(model, rows=3)
    with pytest.raises(UserError, match="there is no prompt to reply to"):
        Rollouts(model, [], sum_reward, RewardSettings(beta=0), decode=decode, stops=[STOP], pad=PAD, rows=1, seed=0)
    with pytest.raises(UserError, match=r"prompts \(3\) times group \(3\) must be a multiple of steps \(2\)"):
        RewardSettings.parse({"prompts": 3, "group": 3, "steps": 2}, where="venture.yaml")
    state = json.loads(json.dumps(rollouts(model).state_dict()))
    with pytest.raises(UserError, match="the checkpoint's batches have 8 replies, and here they have 4"):
        rollouts(model, rows=4).load_state_dict(state)


# Learning


def test_the_reward_of_a_small_model_rises(toy: ModuleType, tmp_path: Path) -> None:
    """Sums up to eight from nothing but right and wrong: a model that guesses is right about once in two hundred times."""
    model = toy.make_model(dropout=0.0)
    measure: dict[str, Any] = {"decode": decode, "stops": [STOP], "pad": PAD, "max_tokens": 3}
    before = mean_reward(model, PROBLEMS, sum_reward, **measure)
    loader = rollouts(model, prompts=16, group=16, rows=256, advantage="normalised", steps=1)
    record = train(
        Reinforcement(RewardSettings(prompts=16, group=16, max_tokens=3, beta=0.0)), model, loader, list,
        toy.make_settings(150, learning_rate=0.003, evaluate_every=150, checkpoint_every=150, schedule="constant"), tmp_path, save=toy.save,
    )  # fmt: skip
    after = mean_reward(model, PROBLEMS, sum_reward, **measure)
    assert record.facts["steps"] == 150
    assert before < 0.1
    assert after > 0.5
    assert loader.history[-1]["reward"] > loader.history[0]["reward"] + 0.3
