"""AdamW and Muon, and which parameter goes to which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts.settings import TrainSettings

MUON_SCALE = 0.2
"""Root mean square of a Muon update at learning rate 1: that of a typical AdamW update (Liu et al. 2025), so that one learning rate and
one weight decay serve both."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The quintic a·x + b·x³ + c·x⁵ of Jordan et al. 2024: steep at 0, and bounded in [0.7, 1.2] on the way to 1."""


def orthogonalize(matrices_NRC: Tensor, steps: int = 5) -> Tensor:
    """Nearly the nearest orthogonal matrices, U·Vᵀ of each singular value decomposition U·S·Vᵀ: singular values in about [0.7, 1.2].

    Newton–Schulz iteration with the coefficients of Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

    Args:
        matrices_NRC: N matrices of R × C with R ≤ C, which keeps the products small. Overwritten.
        steps: five lift singular values of 1/300 of the norm to 0.7; what is smaller stays smaller.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices_NRC.div_(torch.linalg.vector_norm(matrices_NRC, dim=(-2, -1), keepdim=True).clamp_min_(1e-12))
    for _ in range(steps):
        gram_NRR = x @ x.mT
        polynomial_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial_NRR, x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for the matrices of hidden layers.

    Jordan et al. 2024, with Nesterov momentum; the update is scaled by 0.2·√max(rows, columns) and the weight decay is decoupled, as in
    Liu et al. 2025 (Moonlight), https://arxiv.org/abs/2502.16982, section 2.2.

    Matrices of one shape, or of its transpose, are orthogonalised in one batch: small models spend their time in many tiny products.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, momentum: float = 0.95, weight_decay: float = 0.0, steps: int = 5
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "this optimiser evaluates nothing itself"
        for group in self.param_groups:
            by_shape: dict[tuple[Any, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    key = (*sorted(parameter.shape), parameter.device, parameter.dtype)
                    by_shape.setdefault(key, []).append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        # On a GPU bf16 is what Jordan et al. use. On a CPU float32: these products are too small to gain from bf16.
        dtype = torch.bfloat16 if parameters[0].is_cuda else torch.float32
        wide = [update.mT if update.shape[0] > update.shape[1] else update for update in nesterov]
        updates = orthogonalize(torch.stack(wide).to(dtype), group["steps"]).to(parameters[0].dtype).unbind()
        updates = tuple(u.mT if p.shape[0] > p.shape[1] else u for u, p in zip(updates, parameters, strict=True))
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"] * MUON_SCALE * math.sqrt(max(parameters[0].shape)))


@dataclass(frozen=True)
class Groups:
    """Parameter names by treatment; each parameter stands in exactly one."""

    hidden: list[str]
    """Matrices inside numbered blocks: what Muon is for."""
    decayed: list[str]
    """The other matrices: embeddings and output projections."""
    plain: list[str]
    """Norms, biases, scalars: no weight decay."""


def group_parameters(model: nn.Module) -> Groups:
    """Sort a model's trainable parameters by number of axes and by place.

    A hidden matrix is one that stands inside a numbered block (`decoder.blocks.3.attention.query.weight`) and is not an embedding;
    stems and heads stand outside of the blocks, and a matrix with a row or column of length one is a vector in disguise. The two thin
    matrices of an adapter are factors of one: to make each of them orthogonal is not to make their product so.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups = Groups([], [], [])
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            groups.plain.append(name)
        elif parameter.ndim == 2 and min(parameter.shape) > 1 and id(parameter) not in embeddings and _in_block(name):
            groups.hidden.append(name)
        else:
            groups.decayed.append(name)
    return groups


def _in_block(name: str) -> bool:
    parts = name.split(".")
    # `outputs` are heads of a picture classifier, of which there may be several.
    return any(part.isdigit() for part in parts) and not {"adapters", "outputs"} & set(parts)


class Optimizers:
    """The optimisers of one run, driven as one, with a state that is tensors by name.

    What lasts is made here, before the first step: among the tensors that come and go in a step it would leave holes in the memory that
    only a few of them fit into (measured 2026-11: up to a fifth of what a run held, bench/preflight).

    Args:
        keep_gradients: keep the gradients' memory from step to step, for steps that add up several.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, *, keep_gradients: bool = False) -> None:
        assert settings.learning_rate is not None, "the caller derives the learning rate"
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        named = dict(model.named_parameters())
        groups = group_parameters(model)
        muon = groups.hidden if settings.optimizer == "muon" else []
        decayed = [name for name in [*groups.hidden, *groups.decayed] if name not in set(muon)]
        peak, decay = settings.learning_rate, settings.weight_decay
        self._all: list[torch.optim.Optimizer] = []
        if muon:
            self._all.append(Muon([named[name] for name in muon], learning_rate=peak, weight_decay=decay))
        adamw = [(decayed, decay), (groups.plain, 0.0)]
        adamw_groups = [{"params": [named[name] for name in names], "weight_decay": wd} for names, wd in adamw if names]
        if adamw_groups:
            self._all.append(_adamw(adamw_groups, peak, settings.betas))
        self.parameters = [named[name] for name in [*muon, *decayed, *groups.plain]]
        self._peak, self._kept = peak, [torch.zeros_like(parameter) for parameter in self.parameters] if keep_gradients else []
        self._stepped = False
        self._clear_gradients()

    def gradients(self) -> list[Tensor]:
        """The gradients that there are, in a fixed order."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak learning rate; the gradients are gone, or zero, afterwards."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = self._peak * factor
            optimizer.step()
        self._stepped = True
        self._clear_gradients()

    def reset(self) -> None:
        """Be as new."""
        for optimizer in self._all:
            for state in optimizer.state.values():
                torch._foreach_zero_(list(state.values()))
        self._stepped = False
        self._clear_gradients()

    def _clear_gradients(self) -> None:
        if self._kept:
            torch._foreach_zero_(self._kept)
            for parameter, gradient in zip(self.parameters, self._kept, strict=True):
                parameter.grad = gradient
            return
        for parameter in self.parameters:
            parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on: `PARAMETER:KEY` → tensor; nothing before the first step."""
        return self._states() if self._stepped else {}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state_tensors`."""
        self.reset()
        if tensors:
            for name, own in self._states().items():
                own.copy_(tensors[name])
            self._stepped = True

    def _states(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for optimizer in self._all:
            for parameter, state in optimizer.state.items():
                tensors.update({f"{self._names[id(parameter)]}:{key}": value for key, value in state.items()})
        return tensors


def _adamw(groups: list[dict[str, Any]], learning_rate: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW with its state made: what its first step would make."""
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=1e-8, fused=True)
    for group in groups:
        for parameter in group["params"]:
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            optimizer.state[parameter] = {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
    return optimizer


def clip_and_normalize(gradients: list[Tensor], terms: Tensor, limit: float) -> Tensor:
    """Turn summed gradients into those of the mean over `terms`, with a norm of at most `limit`; return the norm before clipping.

    One pass over the gradients and no wait for a GPU: the factor stays a tensor.

    Args:
        gradients: of the summed loss; overwritten.
        terms: the number of loss terms, a scalar tensor.
        limit: the largest norm (Pascanu et al. 2013), or 0 for none.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) / terms
    factor = 1 / terms if limit == 0 else (limit / (norm + 1e-6)).clamp(max=1.0) / terms
    torch._foreach_mul_(gradients, factor)
    return norm
