"""Preference losses beside TRL's, on the same weights and the same batch; and their way through the loop.

TRL's `_compute_loss` methods run as they are; what they need of a trainer besides the loss (logging) is left out.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lodestar.contracts.errors import UserError
from lodestar.contracts.randomness import generator
from lodestar.contracts.settings import PreferenceSettings
from lodestar.train import preference
from lodestar.train.loop import train
from lodestar.train.pairs import Judged, Pair, PreferenceLoader, batch_of, in_order, judged, that_fit, with_reference
from lodestar.train.preference import (
    Preference,
    agreement,
    as_it_is,
    dpo_loss,
    ipo_loss,
    kto_loss,
    odds_ratio_loss,
    reference_log_probabilities,
)
from lodestar.train.scoring import SCORED, Scored, padded, token_log_probabilities

PAD, VOCABULARY, CONTEXT = 0, 61, 64


def close(ours: Tensor, theirs: Tensor, name: str | None = None) -> None:
    """Within 1e-5: both are float32 sums of some dozen log-probabilities, in another order."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, msg=name)


def trl_trainer(name: str, module: str = "trl") -> Any:
    return getattr(importlib.import_module(module), name)


class Theirs(nn.Module):
    """A transformers model as TRL's trainers see it: log-probabilities of labels, instead of logits."""

    is_gradient_checkpointing = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, use_cache: bool, fused_lm_head: bool) -> SimpleNamespace:
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1]
        targets = labels[:, 1:]
        log_probs = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
        nothing = torch.zeros_like(log_probs)
        return SimpleNamespace(log_probs=log_probs * (targets != -100), entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


class Models:
    """One set of random weights in their library and in ours, and another set as the reference."""

    def __init__(self, folder: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        from lodestar.build.formats import load_model

        config = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=CONTEXT, initializer_range=0.2, tie_word_embeddings=False,
        )  # fmt: skip
        torch.manual_seed(0)
        self.theirs, self.their_reference = (Theirs(LlamaForCausalLM(config).eval()) for _ in range(2))
        for name, model in (("policy", self.theirs), ("reference", self.their_reference)):
            model.model.save_pretrained(folder / name)
        self.ours, self.reference = (load_model(folder / name) for name in ("policy", "reference"))
        self.names = dict(self._pairs())

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Parameters of equal shape and content, by name."""
        ours = dict(self.ours.named_parameters())
        for name, tensor in self.theirs.named_parameters():
            found = [other for other, value in ours.items() if value.shape == tensor.shape and torch.equal(value, tensor)]
            if len(found) == 1:  # norms are all ones
                yield name, found[0]

    def gradients(self) -> list[tuple[str, Tensor, Tensor]]:
        """The gradients of the weights that can be told apart; both models' are gone afterwards."""
        theirs, ours = dict(self.theirs.named_parameters()), dict(self.ours.named_parameters())
        found = [(name, theirs[name].grad, ours[other].grad) for name, other in self.names.items()]
        self.theirs.zero_grad()
        self.ours.zero_grad()
        assert len(found) >= 16
        return [(name, a, b) for name, a, b in found if a is not None and b is not None]

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """Our model with the reference's weights, as adapters that are switched off would give it."""
        trained = copy.deepcopy(self.ours.state_dict())
        self.ours.load_state_dict(self.reference.state_dict())
        try:
            yield
        finally:
            self.ours.load_state_dict(trained)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


def pairs(count: int, *, prompt: int | None = None, reply: int | None = None, seed: int = 0) -> list[Pair]:
    draw = generator(seed, "pairs")

    def tokens(low: int, high: int, exactly: int | None) -> list[int]:
        length = int(draw.integers(low, high)) if exactly is None else exactly
        return [int(token) for token in draw.integers(1, VOCABULARY, length)]

    made = []
    for _ in range(count):
        given = tokens(1, 9, prompt)
        made.append(Pair(Scored.reply(given, tokens(2, 12, reply)), Scored.reply(given, tokens(2, 12, reply))))
    return made


TRL = SimpleNamespace(
    accelerator=SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x),
    args=SimpleNamespace(gradient_checkpointing_kwargs=None, gradient_checkpointing=False), aux_loss_enabled=False, ld_alpha=None,
    precompute_ref_logps=False, f_divergence_type="reverse_kl", use_weighting=False, label_smoothing=0.0, loss_weights=[1.0],
    _total_train_tokens=0, _tp_size=1, calculate_KL=True, loss_type="kto",
)  # fmt: skip


def trainer(models: Models, **fields: Any) -> SimpleNamespace:
    own = {"_metrics": {"train": defaultdict(list)}, "model": models.theirs, "ref_model": models.their_reference}
    return SimpleNamespace(**{**vars(TRL), **own, **fields})


def their_inputs(texts: list[Scored]) -> dict[str, Tensor]:
    batch = padded(texts, PAD)
    return {"input_ids": batch["tokens"], "attention_mask": batch["attention_mask"].long(), "completion_mask": batch[SCORED].long()}


def check(models: Models, loss: Tensor, their_loss: Tensor) -> None:
    close(loss, their_loss)
    loss.backward()
    their_loss.backward()
    gradients = models.gradients()
    assert max(float(theirs.abs().max()) for _, theirs, _ in gradients) > 1e-3  # there is something to compare
    for name, theirs, ours in gradients:
        close(ours, theirs, name)


def mean(objective: Preference, model: nn.Module, batch: Any) -> Tensor:
    total, terms = objective.loss(model, batch)
    return total / terms


@pytest.mark.parametrize(("kind", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo")])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_and_ipo_are_trls(models: Models, kind: Any, theirs: str, beta: float) -> None:
    records = pairs(5)
    inputs = their_inputs([*(record.chosen for record in records), *(record.rejected for record in records)])
    their_loss = trl_trainer("DPOTrainer")._compute_loss(trainer(models, loss_types=[theirs], beta=beta), models.theirs, inputs, False)
    objective = Preference(PreferenceSettings(kind=kind, beta=beta), models.as_reference)
    check(models, mean(objective, models.ours, batch_of(records, PAD)), their_loss)


def test_label_smoothing_mixes_trls_losses_of_both_labellings(models: Models) -> None:
    records = pairs(4)
    sides = [record.chosen for record in records], [record.rejected for record in records]
    right, wrong = (
        trl_trainer("DPOTrainer")._compute_loss(
            trainer(models, loss_types=["sigmoid"], beta=0.3), models.theirs, their_inputs(texts), False
        )
        for texts in ([*sides[0], *sides[1]], [*sides[1], *sides[0]])
    )
    objective = Preference(PreferenceSettings(beta=0.3, label_smoothing=0.2), models.as_reference)
    check(models, mean(objective, models.ours, batch_of(records, PAD)), 0.8 * right + 0.2 * wrong)


def test_orpo_is_trls_where_both_mean_the_same(models: Models) -> None:
    """TRL learns the prompt, too, and weighs the texts of a batch by their length: a prompt of one token and equal lengths agree."""
    ORPOTrainer = trl_trainer("ORPOTrainer", "trl.experimental.orpo")
    records = pairs(4, prompt=1, reply=9)
    texts = padded([*(record.chosen for record in records), *(record.rejected for record in records)], PAD)
    labels = texts["tokens"].masked_fill(~texts[SCORED], -100)

    class Trainer(ORPOTrainer):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            for name, value in {**vars(TRL), "beta": 0.25, "is_encoder_decoder": False, "padding_value": PAD}.items():
                setattr(self, name, value)

        def concatenated_inputs(self, batch: Any, **_: Any) -> Any:
            return batch

    batch = {
        "concatenated_input_ids": texts["tokens"], "concatenated_labels": labels,
        "concatenated_attention_mask": texts["attention_mask"].long(), "chosen_labels": labels[:4],
    }  # fmt: skip
    their_loss, _ = Trainer().get_batch_loss_metrics(models.theirs.model, batch)
    objective = Preference(PreferenceSettings(kind="orpo", beta=0.25))
    check(models, mean(objective, models.ours, batch_of(records, PAD)), their_loss)


def test_the_odds_ratio_is_trls_at_every_size() -> None:
    ORPOTrainer = trl_trainer("ORPOTrainer", "trl.experimental.orpo")
    draws = torch.Generator().manual_seed(0)
    values = -torch.logspace(-6, 2, 40)[torch.randperm(40, generator=draws)]
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    self = SimpleNamespace(beta=1.0, accelerator=TRL.accelerator)
    their_losses = -ORPOTrainer.odds_ratio_loss(self, *theirs.chunk(2))[0]
    our_losses = odds_ratio_loss(*ours.chunk(2))
    close(our_losses, their_losses)
    our_losses.sum().backward()
    exact = values.double().requires_grad_()
    chosen, rejected = exact.chunk(2)
    odds = chosen - rejected - torch.log(-torch.expm1(chosen)) + torch.log(-torch.expm1(rejected))
    (-F.logsigmoid(odds)).sum().backward()
    assert ours.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_kto_is_trls(models: Models) -> None:
    KTOTrainer = trl_trainer("KTOTrainer")
    records = judged([(pair.chosen, number % 3 != 0) for number, pair in enumerate(pairs(7))])
    inputs = their_inputs([record.reply for record in records])
    mismatched = their_inputs([record.mismatched for record in records])
    inputs |= {f"KL_{name}": tensor for name, tensor in mismatched.items()}
    inputs["label"] = torch.tensor([record.desirable for record in records])
    self = trainer(models, beta=0.2, desirable_weight=1.3, undesirable_weight=0.7)
    self._compute_kl_logps = lambda model, batch: KTOTrainer._compute_kl_logps(self, model, batch)
    their_loss = KTOTrainer._compute_loss(self, models.theirs, inputs, False)
    assert self._metrics["train"]["kl"][0] > 0  # or the divergence would be clamped away
    settings = PreferenceSettings(kind="kto", beta=0.2, desirable_weight=1.3, undesirable_weight=0.7)
    check(models, mean(Preference(settings, models.as_reference), models.ours, batch_of(records, PAD)), their_loss)


# Closed forms


def test_losses_by_hand() -> None:
    one, zero = torch.tensor([1.0]), torch.tensor([0.0])
    assert dpo_loss(zero, zero, 0.1).item() == pytest.approx(0.693147, abs=1e-6)  # log 2
    assert dpo_loss(one, -one, 0.5).item() == pytest.approx(0.313262, abs=1e-6)  # log(1 + 1/e)
    assert ipo_loss(one, zero, 0.5).item() == 0.0
    assert ipo_loss(zero, one, 0.5).item() == 4.0
    yes, no = torch.tensor([True]), torch.tensor([False])
    assert kto_loss(one, yes, one[0], 0.1, 2.0, 3.0).item() == pytest.approx(1.0)  # 2·(1 - σ(0))
    assert kto_loss(one, no, zero[0], 1.0, 2.0, 3.0).item() == pytest.approx(3 * 0.731059, abs=1e-5)  # 3·σ(1)


def test_a_token_is_scored_by_those_before_it_alone(models: Models) -> None:
    text = Scored([5, 9, 3, 7, 2], [False, False, True, False, True])
    batch = padded([text, Scored.reply([4] * 9, [8])], PAD)
    assert batch["tokens"].shape == (2, 16)
    with torch.no_grad():
        found = token_log_probabilities(models.ours, batch)
        logits = models.ours(torch.tensor([[5, 9, 3, 7, 2]])).log_softmax(-1)[0]
        warm = token_log_probabilities(models.ours, batch, temperature=2.0)[0, 2]
        logits_2 = (models.ours(torch.tensor([[5, 9]]))[0, 1] / 2).log_softmax(-1)
    assert found.shape == (2, 16)
    torch.testing.assert_close(found[0, [2, 4]], torch.stack([logits[1, 3], logits[3, 2]]))
    assert int((found != 0).sum()) == 3
    torch.testing.assert_close(warm, logits_2[3])


def test_parts_give_what_the_whole_gives(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(pairs(6), PAD)

    def gradient() -> Tensor:
        models.ours.zero_grad()
        token_log_probabilities(models.ours, batch).sum().backward()
        gradient = next(models.ours.parameters()).grad
        assert gradient is not None
        return gradient.clone()

    whole = gradient()
    monkeypatch.setattr("lodestar.train.scoring.LOGIT_ROWS", 7)
    torch.testing.assert_close(gradient(), whole)
    models.ours.zero_grad()


# The reference


@pytest.mark.parametrize("kind", ["dpo", "ipo", "kto"])
def test_a_reference_computed_once_is_as_good(models: Models, kind: Any) -> None:
    records: list[Any] = judged([(pair.chosen, number % 2 == 0) for number, pair in enumerate(pairs(5))]) if kind == "kto" else pairs(5)
    settings = PreferenceSettings(kind=kind)
    known = with_reference(models.reference, records, rows=2, pad=PAD)
    assert all(record.reference is not None for record in known)
    now = mean(Preference(settings, models.as_reference), models.ours, batch_of(records, PAD))
    before = mean(Preference(settings), models.ours, batch_of(known, PAD))
    close(before, now)
    again = with_reference(models.ours, records, rows=5, pad=PAD, reference=models.as_reference)
    assert [record.reference for record in again] == [pytest.approx(record.reference, abs=1e-4) for record in known]


def test_the_reference_pass_has_no_gradient_and_no_dropout(toy: ModuleType) -> None:
    model = toy.make_model(dropout=0.5).train()
    batch = padded([Scored.reply([1, 2], [3, 4, 5])], PAD)
    first, second = (preference.reference_log_probabilities(model, batch) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert model.training


@pytest.mark.parametrize("kind", ["dpo", "kto"])
def test_adapters_switched_off_are_the_reference(models: Models, kind: Any) -> None:
    """Fine-tuning with adapters needs no second copy: the base is the reference, whatever the adapters have learnt."""
    from lodestar.build.adapters import add_adapter, use_adapter
    from lodestar.contracts.adapter import AdapterSettings

    base = copy.deepcopy(models.ours)
    records: list[Any] = judged([(pair.chosen, number % 2 == 0) for number, pair in enumerate(pairs(5))]) if kind == "kto" else pairs(5)
    known = with_reference(base, records, rows=5, pad=PAD)
    add_adapter(base, AdapterSettings(rank=2))
    trained = [parameter for parameter in base.parameters() if parameter.requires_grad]
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    settings = PreferenceSettings(kind=kind)
    now = mean(Preference(settings, lambda: use_adapter(base, None)), base, batch_of(records, PAD))
    before = mean(Preference(settings), base, batch_of(known, PAD))
    close(now, before)
    assert abs(now.item() - mean(Preference(settings, lambda: use_adapter(base, "default")), base, batch_of(records, PAD)).item()) > 0.01
    now.backward()
    assert all(parameter.grad is not None for parameter in trained)


# Data


def test_a_second_copy_is_what_the_model_was(models: Models) -> None:
    model = copy.deepcopy(models.ours)
    batch = batch_of(pairs(3), pad=0)
    before = reference_log_probabilities(model, batch)
    reference = as_it_is(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    after = reference_log_probabilities(model, batch)
    assert not torch.allclose(before, after)
    for _ in range(2):
        assert torch.equal(reference_log_probabilities(model, batch, reference), before)
        assert torch.equal(reference_log_probabilities(model, batch), after)


def test_records_that_do_not_fit_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    records = [*pairs(3, prompt=4, reply=4), *pairs(2, prompt=20, reply=4)]
    assert len(that_fit(records, 10, "training")) == 3
    assert "2 of 5 preferences of the training data are longer than the context (10) and left out." in capsys.readouterr().err
    assert len(that_fit(records, 24, "training")) == 5
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match="no preference of the training data fits the context of 7 tokens"):
        that_fit(records, 7, "training")


def test_mismatched_replies_keep_their_prompt() -> None:
    first, second = Scored.reply([1, 2, 3], [4]), Scored.reply([5], [6, 7])
    records = judged([(first, True), (second, False)])
    assert records[0].mismatched == Scored.reply([1, 2, 3], [6, 7])
    assert records[1].mismatched == Scored.reply([5], [4])
    batch = batch_of(records, PAD)
    assert batch["tokens"][2, :5].tolist() == [1, 2, 3, 6, 7]
    assert batch["desirable"].tolist() == [True, False]
    with pytest.raises(UserError, match="replies that are wanted and replies that are not"):
        judged([(first, True), (second, True)])


def test_a_loader_goes_on_where_it_was(models: Models) -> None:
    records = pairs(7)
    whole, cut = (PreferenceLoader(records, rows=3, pad=PAD, seed=1) for _ in range(2))
    batches = [whole.next_batch() for _ in range(8)]
    assert [len(batch["tokens"]) // 2 for batch in batches[:3]] == [3, 3, 1]
    seen = {tuple(row.tolist())[:8] for batch in batches[:3] for row in batch["tokens"].chunk(2)[0]}
    assert len(seen) == 7  # an epoch holds each once
    for _ in range(4):
        cut.next_batch()
    resumed = PreferenceLoader(records, rows=3, pad=PAD, seed=1)
    resumed.load_state_dict(json.loads(json.dumps(cut.state_dict())))
    for batch in batches[4:]:
        assert all(torch.equal(tensor, batch[name]) for name, tensor in resumed.next_batch().items())
    with pytest.raises(UserError, match="with other preferences or another batch"):
        PreferenceLoader(records[:5], rows=3, pad=PAD, seed=1).load_state_dict(cut.state_dict())


@pytest.mark.parametrize(
    "fields", [{"kind": "ipo", "label_smoothing": 0.1}, {"kind": "dpo", "desirable_weight": 2.0}, {"beta": 0.0}, {"label_smoothing": 0.5}]
)
def test_settings_that_mean_nothing_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        PreferenceSettings.parse(fields, where="venture.yaml")


# The loop


def ascending(count: int, seed: int) -> list[Pair]:
    """Replies that count up from the prompt are preferred to random ones."""
    draw = generator(seed, "ascending")
    made = []
    for _ in range(count):
        start = int(draw.integers(1, 12))
        good = [start + step for step in (1, 2, 3)]
        made.append(Pair(Scored.reply([start], good), Scored.reply([start], [int(token) for token in draw.integers(1, 16, 3)])))
    return made


@pytest.mark.parametrize("kind", ["dpo", "ipo", "orpo", "kto"])
def test_the_one_loop_learns_preferences(toy: ModuleType, tmp_path: Path, kind: Any) -> None:
    model = toy.make_model(dropout=0.0)
    records: list[Any] = ascending(64, 0)
    held_out = in_order(with_reference(model, ascending(40, 1), rows=8, pad=PAD), rows=8, pad=PAD)
    if kind == "kto":
        records = judged([item for pair in records for item in ((pair.chosen, True), (pair.rejected, False))])
    known: list[Pair | Judged] = with_reference(model, records, rows=8, pad=PAD) if kind != "orpo" else records
    objective = Preference(PreferenceSettings(kind=kind, beta=0.5 if kind == "ipo" else 0.1))
    assert agreement(model, held_out) == 0.5  # the reference agrees with itself
    loader = PreferenceLoader(known, rows=8, pad=PAD, seed=0)
    record = train(
        objective, model, loader, list, toy.make_settings(40, learning_rate=0.003), tmp_path, save=toy.save, inputs={"data": "ascending"}
    )
    assert record.config["task"]["preference"]["kind"] == kind
    assert record.facts["steps"] == 40
    assert agreement(model, held_out) > 0.8
    model.train()
    with pytest.raises(UserError, match="no held-out pair"):
        agreement(model, [])
    assert model.training
