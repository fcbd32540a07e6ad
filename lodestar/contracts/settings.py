"""The settings of the lifecycle's steps, as they stand in venture.yaml and on the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .config import Config

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class DataSettings(Config):
    """Where the records come from and how they are split (venture.yaml: `data`)."""

    sources: list[str] = Field(min_length=1)
    """Files, folders or globs, relative to venture.yaml; `train.{en,de}` for two files whose lines are pairs; `builtin:NAME` for a source
    that Lodestar carries."""
    exclude: list[str] = []
    """Globs of paths to leave out."""
    columns: dict[str, str] = {}
    """The name of a field of the task's example → the column of the file that holds it, where they differ."""
    constants: dict[str, dict[str, str]] = {}
    """A source, or a glob of paths → fields that its records do not have: `"en-zh/*": {source_language: en, target_language: zh}`."""
    splits: dict[Literal["train", "validation", "test"], list[str]] = {}
    """Explicit files for a split, where the source has its own splits; sources not named here are split by hash."""
    validation: Fraction = 0.05
    """The share of records held out to steer training."""
    test: Fraction = 0.05
    """The share of records held out to judge the release."""
    deduplicate: Literal["exact", "near", "no"] = "exact"
    """`exact` drops records that are equal; `near` also those that share most of their word sequences (MinHash)."""
    too_long: Literal["cut", "drop", "refuse"] = "cut"
    """What becomes of a record longer than the context, for tasks that read records whole: its end is cut off, it is left out of
    training, or the data is refused. How many there are is said before training starts."""
    vocabulary: int = Field(8192, ge=258)
    """The tokenizer's size at most: 256 bytes, the two special tokens, and merges."""
    source_vocabulary: int | None = Field(None, ge=258)
    """As that, of a second tokenizer for what is read, where it is not to share that of what is written (translation); one joint
    vocabulary where absent."""

    @model_validator(mode="after")
    def _shares_leave_train(self) -> DataSettings:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation ({self.validation}) and test ({self.test}) leave nothing to train on; lower one")
        return self


class ModelSettings(Config):
    """The model's size (venture.yaml: `model`); `overrides` sets any field of ModelConfig by hand."""

    base: str | None = None
    """The open checkpoint to fine-tune: a folder relative to venture.yaml, or the id of a model on the hub. It decides the size and
    brings its tokenizer."""
    size: Literal["tiny", "small", "medium", "large"] = "small"
    """The dial that width, depth, heads, batch and learning rate derive from."""
    context: int | None = Field(None, ge=8)
    """Tokens that the model sees at once; derived from the size where absent."""
    overrides: dict[str, Any] = {}
    """Any field of ModelConfig, by name."""


class TrainSettings(Config):
    """How to train (venture.yaml: `train`); a field left out is derived from the size."""

    tokens: int | None = Field(None, ge=1)
    """The token budget; derived from the size and the data where absent."""
    minutes: float | None = Field(None, gt=0)
    """A limit on the wall time; the schedule ends when it is reached."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens in one optimiser step."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Tokens in one forward pass; the rest of the step is accumulated."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """`muon` orthogonalises the updates of the matrices (AdamW for the rest); `adamw` for everything."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    """AdamW's decay of its averages of the gradient and of its square."""
    learning_rate: float | None = Field(None, gt=0)
    """The peak learning rate; derived from the size and the optimiser where absent."""
    schedule: Literal["cosine", "wsd", "constant"] = "wsd"
    """The learning rate over the run: cosine, warm-up–stable–decay, or constant after the warm-up."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """The share of the steps in which the learning rate rises."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.4
    """The share of the steps in which it falls (wsd)."""
    floor: Fraction = 0.0
    """The share of the peak learning rate that the schedule ends at."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled weight decay, on matrices only."""
    clip: float = Field(1.0, ge=0)
    """The largest gradient norm; 0 leaves gradients as they are."""
    dropout: Fraction | None = None
    """The share of activations dropped in training; the task's own default where absent."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """The precision of the matrix products; `auto` takes bf16 where the machine computes it fast."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; `auto` takes it on a GPU, where it is measured to pay."""
    ema: Fraction | None = None
    """The decay of an exponential moving average of the weights, kept and used for evaluation where set."""
    average_last: int | None = Field(None, ge=2)
    """In its place, the mean of the weights at so many of the run's last evaluations (`evaluate_every`), the end included."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between evaluations on the validation split; ten in a run where absent."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; with each evaluation where absent."""
    keep: int = Field(2, ge=1)
    """The newest checkpoints that are kept."""
    on_spike: Literal["rewind", "stop"] = "rewind"
    """After a NaN or a loss spike: go back to the last checkpoint and skip the batches, or stop."""
    seed: int = 0
    """The seed that every random draw of the run derives from."""

    @model_validator(mode="after")
    def _shares_fit(self) -> TrainSettings:
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup ({self.warmup}) and decay ({self.decay}) are shares of the same steps and sum to more than 1; lower one"
            )
        if self.batch_tokens and self.micro_batch_tokens and self.micro_batch_tokens > self.batch_tokens:
            raise ValueError(f"micro_batch_tokens ({self.micro_batch_tokens}) is larger than batch_tokens ({self.batch_tokens}); lower it")
        if self.ema is not None and self.average_last is not None:
            raise ValueError("ema and average_last are two averages of the weights, and a run keeps one; leave one of them out")
        return self

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is kept beside them."""
        return self.ema is not None or self.average_last is not None


class EvaluateSettings(Config):
    """How to measure (venture.yaml: `evaluate`)."""

    split: Literal["validation", "test"] = "test"
    """The records to measure on."""
    examples: int | None = Field(None, ge=1)
    """At most so many records, chosen by the seed; all where absent. The scorecard says how many."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """The interval's level."""
    seed: int = 0
    """The seed of the resampling and of sampled completions."""


class PreferenceSettings(Config):
    """How to learn from preferences (venture.yaml: `preference`)."""

    kind: Literal["dpo", "ipo", "orpo", "kto"] = "dpo"
    """`dpo` and `ipo` take pairs of replies and a reference model, `orpo` takes pairs alone, `kto` single replies and a reference model."""
    beta: float = Field(0.1, gt=0)
    """What leaving the reference costs (orpo: the weight of the odds ratio)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The share of pairs assumed to be labelled the wrong way round (dpo)."""
    desirable_weight: float = Field(1.0, gt=0)
    """The weight of wanted replies (kto); weight times number should be within 1 to 4/3 of the unwanted ones' (Ethayarajh et al. 2024)."""
    undesirable_weight: float = Field(1.0, gt=0)
    """The weight of unwanted replies (kto)."""
    learning_rate: float | None = Field(None, gt=0)
    """The peak learning rate of AdamW; 5e-6 where absent, or 5e-5 for an adapter. Far lower than in training: the model is nudged."""
    epochs: float = Field(1.0, gt=0)
    """How often each preference is seen; more than a few times, and the model learns them by heart."""
    batch: int = Field(32, ge=1)
    """Preferences in one optimiser step."""
    micro_batch: int = Field(8, ge=1)
    """Preferences in one forward pass, two texts each; a divisor of batch."""

    @model_validator(mode="after")
    def _fields_belong_to_the_kind(self) -> PreferenceSettings:
        if self.label_smoothing and self.kind != "dpo":
            raise ValueError(f"label_smoothing ({self.label_smoothing}) belongs to kind dpo, and the kind is {self.kind}; leave it out")
        if self.batch % self.micro_batch:
            raise ValueError(f"micro_batch ({self.micro_batch}) must divide batch ({self.batch}); change one")
        if self.kind == "kto" and self.micro_batch < 2:
            raise ValueError("kto estimates a divergence from each micro_batch, and 1 gives none; give at least 2")
        if self.kind != "kto" and (self.desirable_weight, self.undesirable_weight) != (1.0, 1.0):
            raise ValueError(f"desirable_weight and undesirable_weight belong to kind kto, and the kind is {self.kind}; leave them out")
        return self


class RewardSettings(Config):
    """How to learn from a reward that can be verified (venture.yaml: `reward`): group relative policy optimisation.

    Shao et al. 2024, https://arxiv.org/abs/2402.03300. Where others chose otherwise, a field says who.
    """

    rounds: int = Field(50, ge=1)
    """Rounds of sampling, judging and learning."""
    prompts: int = Field(8, ge=1)
    """Prompts in a round."""
    group: int = Field(8, ge=2)
    """Replies to each prompt, which are judged by each other."""
    max_tokens: int = Field(256, ge=1)
    """The longest reply."""
    temperature: float = Field(1.0, gt=0)
    """Of the sampling, and of the probabilities that the loss is made of."""
    steps: int = Field(1, ge=1)
    """Optimiser steps that a round is cut into."""
    epochs: int = Field(1, ge=1)
    """How often each reply of a round is learnt from."""
    clip: float = Field(0.2, gt=0, lt=1)
    """How far the probability of a token may fall, relative to when it was drawn, before it is learnt from no more."""
    clip_high: float | None = Field(None, gt=0)
    """And how far it may rise; as `clip` where absent. Yu et al. 2025 (DAPO) take 0.28."""
    beta: float = Field(0.04, ge=0)
    """What leaving the reference costs; 0, as in DAPO and Dr. GRPO, needs no reference model."""
    advantage: Literal["normalised", "centred"] = "normalised"
    """A reply's reward less its group's mean, divided by the group's standard deviation, or not (Liu et al. 2025, Dr. GRPO)."""
    average: Literal["sequence", "token", "constant"] = "sequence"
    """What the mean is over: replies' means; all tokens (DAPO); or replies' sums over `max_tokens` (Dr. GRPO)."""
    partial: bool = False
    """Reward code by the share of its tests that pass, rather than by 1 where all of them do and 0 else."""
    learning_rate: float | None = Field(None, gt=0)
    """The learning rate of AdamW; 1e-6 where absent, or 1e-5 for an adapter."""
    micro_batch: int | None = Field(None, ge=1)
    """Replies in one forward pass, a divisor of those in a step; the largest one up to 8 where absent."""

    @property
    def replies(self) -> int:
        """Replies in a round."""
        return self.prompts * self.group

    @property
    def rows(self) -> int:
        """Replies in one forward pass."""
        step = self.replies // self.steps
        return self.micro_batch or max(rows for rows in range(1, 9) if step % rows == 0)

    @model_validator(mode="after")
    def _round_can_be_cut(self) -> RewardSettings:
        if self.replies % self.steps:
            raise ValueError(f"prompts ({self.prompts}) times group ({self.group}) must be a multiple of steps ({self.steps}); change one")
        if self.micro_batch and self.replies // self.steps % self.micro_batch:
            raise ValueError(
                f"micro_batch ({self.micro_batch}) must divide the {self.replies // self.steps} replies of a step "
                "(prompts × group / steps); change one"
            )
        return self
