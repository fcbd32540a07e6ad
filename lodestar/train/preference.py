"""Learning from preferences: DPO, IPO, ORPO and KTO, as losses for the one loop.

Symbols: y a reply, x its prompt; π the model that is trained, π₀ the one that it began as (the reference); β how much it costs to leave
the reference. Every loss is a mean over pairs (over single replies for KTO), so it does not depend on how a step is cut into batches.

Axes: B pairs or replies, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.errors import UserError
from ..contracts.settings import PreferenceSettings
from ..contracts.task import Batch
from .scoring import SCORED, token_log_probabilities

Reference = Callable[[], AbstractContextManager[object]]
"""Inside the context that it gives, the model is the reference: adapters switched off, say, which costs no second copy."""
REFERENCE, DESIRABLE = "reference", "desirable"


def dpo_loss(chosen_B: Tensor, rejected_B: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """-log σ(β·Δ) with Δ the difference of the two log-ratios, (B,). Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7.

    Args:
        chosen_B, rejected_B: log π(y|x) - log π₀(y|x) of the preferred and of the other reply.
        label_smoothing: the share of pairs assumed to be labelled the wrong way round (conservative DPO, Mitchell 2023,
            https://ericmitchell.ai/cdpo.pdf); 0 to below 0.5.
    """
    margin_B = beta * (chosen_B - rejected_B)
    return -(1 - label_smoothing) * F.logsigmoid(margin_B) - label_smoothing * F.logsigmoid(-margin_B)


def ipo_loss(chosen_B: Tensor, rejected_B: Tensor, beta: float) -> Tensor:
    """(Δ - 1/(2β))², (B,). Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 17, with β its τ.

    Args:
        chosen_B, rejected_B: log-ratios as for DPO, but divided by the number of the reply's tokens: else the target margin would be
            smaller, per token, for a long reply. This is how the authors measured (as the maintainers of TRL learnt from them).
    """
    return (chosen_B - rejected_B - 1 / (2 * beta)) ** 2


def odds_ratio_loss(chosen_B: Tensor, rejected_B: Tensor) -> Tensor:
    """-log σ of the log odds ratio, (B,). Hong et al. 2024 (ORPO), https://arxiv.org/abs/2403.07691, equation 7; needs no reference.

    Args:
        chosen_B, rejected_B: the mean log-probability of a token of each reply, negative.
    """
    log_odds_B = chosen_B - rejected_B - (_log_one_minus_exp(chosen_B) - _log_one_minus_exp(rejected_B))
    return -F.logsigmoid(log_odds_B)


def kto_loss(
    ratio_B: Tensor, desirable_B: Tensor, divergence: Tensor, beta: float, desirable_weight: float, undesirable_weight: float
) -> Tensor:
    """λ_D·(1 - σ(β·(r - z))) for desirable replies and λ_U·(1 - σ(β·(z - r))) for the others, (B,).

    Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, equations 7 and 8.

    Args:
        ratio_B: r = log π(y|x) - log π₀(y|x).
        desirable_B: True where the reply is wanted.
        divergence: z, an estimate of KL(π‖π₀) that no gradient goes through, a scalar.
    """
    sign_B = torch.where(desirable_B, 1.0, -1.0)
    weight_B = torch.where(desirable_B, desirable_weight, undesirable_weight)
    return weight_B * (1 - torch.sigmoid(beta * sign_B * (ratio_B - divergence)))


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """log(1 - eˣ) for x < 0, exact to the last bits on both sides of -log 2 (Mächler 2012)."""
    near = x > -0.6931471805599453
    # Each branch sees a harmless value where it is not taken, so that its gradient is no NaN there.
    close, far = torch.where(near, x, -0.5), torch.where(near, -1.0, x)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))


class Preference:
    """A preference loss as the loop takes it (`contracts.task.Objective`).

    Args:
        settings: which loss, and its constants.
        reference: how the model becomes the reference; None where the batches hold the reference's log-probabilities already
            (`with_reference`), or where the loss needs none (ORPO).
    """

    def __init__(self, settings: PreferenceSettings, reference: Reference | None = None) -> None:
        self.settings, self.reference = settings, reference

    def describe(self) -> dict[str, Any]:
        """What shapes the loss, as JSON."""
        return {"preference": self.settings.model_dump(mode="json")}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss over the batch's pairs (replies, for KTO), and how many there are.

        Args:
            batch: `tokens` and `scored` (2B, T): first the preferred (KTO: the judged) replies, then in the same order the others (KTO:
                the mismatched ones, which the divergence is estimated from); `reference` (2B,) where it was computed before; for KTO
                `desirable` (B,).
        """
        settings = self.settings
        if settings.kind == "kto":
            losses_B = self._kto(model, batch)
        else:
            ratios = self.ratios(model, batch)
            chosen_B, rejected_B = (ratios if settings.kind == "dpo" else ratios / batch[SCORED].sum(1)).chunk(2)
            if settings.kind == "dpo":
                losses_B = dpo_loss(chosen_B, rejected_B, settings.beta, settings.label_smoothing)
            elif settings.kind == "ipo":
                losses_B = ipo_loss(chosen_B, rejected_B, settings.beta)
            else:
                losses_B = -chosen_B + settings.beta * odds_ratio_loss(chosen_B, rejected_B)
        return losses_B.sum(), torch.tensor(len(losses_B), device=losses_B.device)

    def ratios(self, model: nn.Module, batch: Batch) -> Tensor:
        """log π(y|x) - log π₀(y|x) of each row; for ORPO, which has no reference, log π(y|x)."""
        # The reference first: becoming it may change weights in place, which the gradient of a pass before it would still need.
        reference = 0.0 if self.settings.kind == "orpo" else self._reference(model, batch)
        return token_log_probabilities(model, batch).sum(1) - reference

    def _kto(self, model: nn.Module, batch: Batch) -> Tensor:
        reference = self._reference(model, batch)
        judged, mismatched = ({name: batch[name].chunk(2)[half] for name in ("tokens", SCORED)} for half in (0, 1))
        reference_B, reference_mismatched_B = reference.chunk(2)
        with torch.no_grad():
            divergence = (token_log_probabilities(model, mismatched).sum(1) - reference_mismatched_B).mean().clamp(min=0)
        ratio_B = token_log_probabilities(model, judged).sum(1) - reference_B
        settings = self.settings
        return kto_loss(
            ratio_B, batch[DESIRABLE], divergence, settings.beta, settings.desirable_weight, settings.undesirable_weight
        )  # fmt: skip

    def _reference(self, model: nn.Module, batch: Batch) -> Tensor:
        if REFERENCE in batch:
            return batch[REFERENCE]
        assert self.reference is not None, "batches hold the reference's values where no reference is given"
        return reference_log_probabilities(model, batch, self.reference)


def as_it_is(model: nn.Module) -> Reference:
    """The reference that a model is now, whatever becomes of it: a second copy of its weights, which then change places."""
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def exchange() -> None:
        for name, parameter in model.named_parameters():
            parameter.data, kept[name] = kept[name], parameter.data

    @contextmanager
    def reference() -> Iterator[None]:
        exchange()
        try:
            yield
        finally:
            exchange()

    return reference


def reference_log_probabilities(model: nn.Module, batch: Mapping[str, Tensor], reference: Reference | None = None) -> Tensor:
    """log π₀ of the scored tokens of each row, (rows,): without gradient, without dropout, and as the reference where one is given."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), reference() if reference is not None else torch.no_grad():
            return token_log_probabilities(model, batch).sum(1)
    finally:
        model.train(training)


def judged_agreement(model: nn.Module, batches: Iterable[Batch], reference: Reference | None = None) -> float:
    """The share of judged replies that the model has come to find likelier than the reference does, where they are wanted, or less likely.

    Args:
        batches: of judged replies (`train.pairs.Judged`), held out, at least one.
    """
    objective, training = Preference(PreferenceSettings(), reference), model.training
    model.eval()
    try:
        with torch.no_grad():
            right = [(objective.ratios(model, batch).chunk(2)[0] > 0) == batch[DESIRABLE] for batch in batches]
    finally:
        model.train(training)
    return float(torch.cat(right).double().mean())


def agreement(model: nn.Module, batches: Iterable[Batch], reference: Reference | None = None) -> float:
    """The share of pairs whose preferred reply the model has come to find likelier, in proportion, than the reference does.

    By chance it is 0.5, which is also what a tie counts.

    Args:
        batches: of pairs, held out, as `Preference.loss` takes them.

    Raises:
        UserError: there is no pair to judge by.
    """
    objective, training = Preference(PreferenceSettings(), reference), model.training
    model.eval()
    try:
        with torch.no_grad():
            ratios = [objective.ratios(model, batch).chunk(2) for batch in batches]
    finally:
        model.train(training)
    if not ratios:
        raise UserError("there is no held-out pair to measure agreement on", where="data", fix="hold some out, with data.validation")
    margins_N = torch.cat([chosen_B - rejected_B for chosen_B, rejected_B in ratios])
    return float((margins_N > 0).double().mean() + (margins_N == 0).double().mean() / 2)
