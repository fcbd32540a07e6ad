"""Reinforcement from a reward that can be verified: group relative policy optimisation, as a loss and a loader for the one loop.

In each round the model writes several replies to each of some prompts; a reply that is rewarded more than its group is made likelier.
Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.1; the variants are named where their settings are.

Axes: B replies, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.errors import UserError
from ..contracts.randomness import derive_seed, generator
from ..contracts.settings import RewardSettings
from ..contracts.task import Batch, Problem, device_of
from ..model.config import ModelConfig
from ..model.generate import generate
from ..model.transformer import Transformer
from .preference import Reference
from .scoring import SCORED, Scored, padded, token_log_probabilities

Reward = Callable[[Sequence[str], Sequence[Any]], Sequence[float]]
"""Replies, and what each is to be held against → a number each."""
OLD, REFERENCE, ADVANTAGE, REWARD = "old", "reference", "advantage", "reward"
SPREAD = 1e-4
"""Added to a group's standard deviation, as in TRL: a group that agrees has no advantage rather than an infinite one."""


def advantages(rewards: Tensor, kind: str) -> Tensor:
    """Each reward relative to its group, (groups, replies): less the mean and, for `normalised`, over the standard deviation."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + SPREAD) if kind == "normalised" else centred


def grpo_loss(
    new_BT: Tensor,
    old_BT: Tensor,
    advantage_B: Tensor,
    scored_BT: Tensor,
    settings: RewardSettings,
    reference_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The summed loss and the number of terms that its mean is over (replies, or tokens).

    A token's loss is -min(r·A, clip(r)·A) + β·(π₀/π - log(π₀/π) - 1), with r = π/π_old and A the advantage of its reply: equation 3, with
    the estimator of the divergence from equation 4 (Schulman 2020, k3), which is never negative.

    Args:
        new_BT, old_BT, reference_BT: log-probabilities of the tokens now, when they were drawn, and by the reference.
        scored_BT: True on the tokens of the replies.
    """
    ratio_BT = (new_BT - old_BT).exp()
    high = settings.clip if settings.clip_high is None else settings.clip_high
    gain_BT = torch.minimum(ratio_BT * advantage_B[:, None], ratio_BT.clamp(1 - settings.clip, 1 + high) * advantage_B[:, None])
    loss_BT = -gain_BT
    if settings.beta and reference_BT is not None:
        away_BT = reference_BT - new_BT
        loss_BT = loss_BT + settings.beta * (away_BT.exp() - away_BT - 1)
    sums_B, lengths_B = (loss_BT * scored_BT).sum(1), scored_BT.sum(1)
    replies = torch.tensor(len(sums_B), device=sums_B.device)
    if settings.average == "token":
        return sums_B.sum(), lengths_B.sum()
    if settings.average == "constant":
        return sums_B.sum() / settings.max_tokens, replies
    return (sums_B / lengths_B).sum(), replies


class Reinforcement:
    """The loss as the loop takes it (`contracts.task.Objective`), of batches that `Rollouts` makes."""

    def __init__(self, settings: RewardSettings) -> None:
        self.settings = settings

    def describe(self) -> dict[str, Any]:
        """What shapes the loss, as JSON."""
        return {"reward": self.settings.model_dump(mode="json")}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the replies lack to a reward of 1, with the gradient of `grpo_loss`, and its terms.

        The loss itself says nothing: in the first step of a round it is 0, whatever the model can do. What is written down, drawn and
        watched for spikes is what is meant to fall.

        Args:
            batch: `tokens`, `scored`, `old` and, where β is not 0, `reference` (B, T), `advantage` and `reward` (B,).
        """
        new_BT = token_log_probabilities(model, batch, self.settings.temperature)
        loss, terms = grpo_loss(new_BT, batch[OLD], batch[ADVANTAGE], batch[SCORED], self.settings, batch.get(REFERENCE))
        weight_B = batch[SCORED].sum(1) if self.settings.average == "token" else 1.0
        return loss + (((1 - batch[REWARD]) * weight_B).sum() - loss).detach(), terms


class Rollouts:
    """The loader: samples a round of replies when the last one is used up, has them rewarded, and hands them out `rows` at a time.

    Rounds follow from the seed, the model and the reward alone; the state holds what is left of the present round, so that a resumed
    run learns from the same replies.

    Args:
        model: the one that is trained; sampled in eval mode.
        problems: to draw prompts from, each as often as the others.
        reward: judges a round of replies at once.
        decode: tokens of a reply, the one that ends it left out → its text.
        stops: the tokens that end a reply, of which the first is part of it.
        rows: replies a batch; divides the replies of an optimiser step.
        reference: how the model becomes the reference (`train.preference.Reference`); needed where β is not 0.
    """

    def __init__(
        self,
        model: nn.Module,
        problems: Sequence[Problem],
        reward: Reward,
        settings: RewardSettings,
        *,
        decode: Callable[[Sequence[int]], str],
        stops: Collection[int],
        pad: int,
        rows: int,
        seed: int,
        reference: Reference | None = None,
    ) -> None:
        transformer = cast(Transformer, model)
        longest = max((len(problem.prompt) for problem in problems), default=0)
        if not problems:
            raise UserError("there is no prompt to reply to", where="data", fix="give some")
        if longest + settings.max_tokens > transformer.config.context:
            raise UserError(
                f"the longest prompt ({longest} tokens) and reward.max_tokens ({settings.max_tokens}) exceed the context "
                f"of {transformer.config.context} tokens",
                where="reward.max_tokens", fix="lower it, or leave out the long prompts",
            )  # fmt: skip
        if settings.replies // settings.steps % rows:
            raise UserError(
                f"{rows} replies a batch do not divide the {settings.replies // settings.steps} of a step",
                where="train.micro_batch_tokens", fix="take a divisor",
            )  # fmt: skip
        assert settings.beta == 0 or reference is not None, "a divergence needs something to diverge from"
        self._model, self._problems, self._reward, self._settings = transformer, problems, reward, settings
        self._decode, self._stops, self._pad, self._rows, self._seed, self._reference = decode, set(stops), pad, rows, seed, reference
        self._round = self._place = 0
        self._replies: list[_Reply] = []
        self.history: list[dict[str, float]] = []
        """Of each round: the mean `reward`, the mean `tokens` of a reply, the share `finished` before `max_tokens`, and the share of the
        groups with a `signal`, that is, whose replies are not all rewarded alike."""

    def next_batch(self) -> Batch:
        """`tokens`, `scored`, `attention_mask`, `old`, `reference` (B, T), `advantage` and `reward` (B,)."""
        epoch, start = divmod(self._place, self._settings.replies)
        if epoch == self._settings.epochs or not self._replies:
            self._replies = self._sample()
            epoch = start = self._place = 0
            self._round += 1
        order = generator(self._seed, "replies", self._round, epoch).permutation(len(self._replies))
        self._place += self._rows
        return self._batch([self._replies[index] for index in order[start : start + self._rows]])

    def state_dict(self) -> dict[str, Any]:
        return {
            "round": self._round, "place": self._place, "history": self.history, "rows": self._rows,
            "replies": [reply.to_json() for reply in self._replies],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it was taken with another batch.
        """
        if state["rows"] != self._rows:
            raise UserError(
                f"the checkpoint's batches have {state['rows']} replies, and here they have {self._rows}",
                where="loader", fix="train with the settings of the checkpoint, or start a new run",
            )  # fmt: skip
        self._round, self._place, self.history = int(state["round"]), int(state["place"]), list(state["history"])
        self._replies = [_Reply(**reply) for reply in state["replies"]]

    # A round

    def _sample(self) -> list[_Reply]:
        """A round's replies with their rewards, and their probabilities now and by the reference."""
        settings = self._settings
        chosen = [problem for problem in self._chosen() for _ in range(settings.group)]
        written = write(
            self._model, [problem.prompt for problem in chosen], settings.max_tokens, stops=self._stops, pad=self._pad,
            temperature=settings.temperature, seed=derive_seed(self._seed, "round", self._round),
        )  # fmt: skip
        texts = [self._decode([token for token in reply if token not in self._stops]) for reply in written]
        rewards = torch.tensor(list(self._reward(texts, [problem.expected for problem in chosen])), dtype=torch.float32)
        grouped = rewards.view(settings.prompts, settings.group)
        self.history.append(
            {
                "reward": float(rewards.mean()),
                "tokens": sum(map(len, written)) / len(written),
                "finished": sum(reply[-1] in self._stops for reply in written) / len(written),
                "signal": float((grouped.std(1) > 0).float().mean()),
            }
        )
        values = advantages(grouped, settings.advantage).flatten().tolist()
        replies = [
            _Reply(list(problem.prompt), reply, reward, advantage)
            for problem, reply, reward, advantage in zip(chosen, written, rewards.tolist(), values, strict=True)
        ]
        self._remember(replies, "old")
        if settings.beta and self._reference is not None:
            with self._reference():
                self._remember(replies, "reference")
        return replies

    def _chosen(self) -> list[Problem]:
        """The round's problems: the next ones of an order that is drawn anew whenever all have been used."""
        count, total = self._settings.prompts, len(self._problems)
        places = range(self._round * count, (self._round + 1) * count)
        orders = {epoch: generator(self._seed, "problems", epoch).permutation(total) for epoch in {place // total for place in places}}
        return [self._problems[orders[place // total][place % total]] for place in places]

    def _remember(self, replies: Sequence[_Reply], name: str) -> None:
        """Note the model's log-probabilities of the replies' tokens, `rows` at a time."""
        training = self._model.training
        self._model.eval()
        try:
            for start in range(0, len(replies), self._rows):
                part = replies[start : start + self._rows]
                batch = {
                    key: tensor.to(device_of(self._model)) for key, tensor in padded([reply.text for reply in part], self._pad).items()
                }
                with torch.no_grad():
                    values_BT = token_log_probabilities(self._model, batch, self._settings.temperature).cpu()
                for reply, values_T in zip(part, values_BT, strict=True):
                    setattr(reply, name, values_T[len(reply.prompt) :][: len(reply.reply)].tolist())
        finally:
            self._model.train(training)

    def _batch(self, replies: Sequence[_Reply]) -> Batch:
        batch = padded([reply.text for reply in replies], self._pad)
        shape = batch["tokens"].shape
        for name in (OLD, REFERENCE):
            values_BT = np.zeros(shape, dtype=np.float32)
            for row, reply in enumerate(replies):
                known = getattr(reply, name)
                values_BT[row, len(reply.prompt) : len(reply.prompt) + len(known)] = known
            batch[name] = torch.from_numpy(values_BT)
        if not self._settings.beta:
            del batch[REFERENCE]
        return batch | {name: torch.tensor([getattr(reply, name) for reply in replies]) for name in (ADVANTAGE, REWARD)}


def longest_batch(prompt: Sequence[int], settings: RewardSettings, pad: int, rows: int) -> Batch:
    """A batch of the form that `Rollouts` gives, of the longest replies to one prompt: what a step takes can be told from it."""
    batch: dict[str, Tensor] = padded([Scored.reply(prompt, [pad] * settings.max_tokens)] * rows, pad)
    known = (OLD, REFERENCE) if settings.beta else (OLD,)
    batch |= {name: torch.zeros(batch["tokens"].shape) for name in known}
    return batch | {name: torch.zeros(rows) for name in (ADVANTAGE, REWARD)}


def sampling_bytes(config: ModelConfig, settings: RewardSettings, longest: int, element: int) -> int:
    """What comes and goes while a round is sampled: the cache, what the widest layer makes of the prompts, and the logits of a step.

    Args:
        longest: tokens in the longest prompt.
        element: bytes of a number in the model.
    """
    tokens, layer = settings.replies * longest, 6 * config.width + 3 * config.hidden_width
    cache = 2 * config.decoder_layers * config.kv_heads * config.head_size * settings.replies * (longest + settings.max_tokens)
    # The logits in float32, divided by the temperature, and as probabilities.
    return element * (cache + tokens * layer) + 3 * 4 * settings.replies * config.vocabulary_size


@dataclass
class _Reply:
    """One reply of a round, as JSON needs it: floats come back from JSON as they were, to the last bit."""

    prompt: list[int]
    reply: list[int]
    reward: float
    advantage: float
    old: Sequence[float] = ()
    reference: Sequence[float] = ()

    @property
    def text(self) -> Scored:
        return Scored.reply(self.prompt, self.reply)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "old": list(self.old), "reference": list(self.reference)}


def write(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    *,
    stops: Collection[int],
    pad: int,
    temperature: float,
    seed: int,
) -> list[list[int]]:
    """A reply to each prompt, with the stop that ended it: all at once, with the cache; the model's mode is as it was afterwards."""
    device, longest = device_of(model), max(map(len, prompts))
    tokens_BT = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=device)
    mask_BT = torch.arange(longest, device=device) >= longest - lengths_B[:, None]
    training = model.training
    model.eval()
    try:
        new_BT = generate(
            model, tokens_BT, max_tokens, temperature=temperature, seed=seed, stop_ids=stops,
            attention_mask=None if bool(mask_BT.all()) else mask_BT,
        )  # fmt: skip
    finally:
        model.train(training)
    ends = ((next((place for place, token in enumerate(reply, 1) if token in stops), None), reply) for reply in new_BT.tolist())
    return [reply[:end] for end, reply in ends]


def mean_reward(
    model: nn.Module,
    problems: Sequence[Problem],
    reward: Reward,
    *,
    decode: Callable[[Sequence[int]], str],
    stops: Collection[int],
    pad: int,
    max_tokens: int,
) -> float:
    """The mean reward of the model's likeliest replies: what reinforcement is to raise, on problems that it did not learn from."""
    written = write(
        cast(Transformer, model), [problem.prompt for problem in problems], max_tokens, stops=stops, pad=pad, temperature=0.0, seed=0
    )  # fmt: skip
    texts = [decode([token for token in reply if token not in stops]) for reply in written]
    return float(np.mean(list(reward(texts, [problem.expected for problem in problems]))))
