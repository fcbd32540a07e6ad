"""The strategies open to a team, as they stand in venture.yaml (`decision`), and those that are looked at where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from ..contracts.adapter import AdapterSettings
from ..contracts.config import Config
from ..contracts.evidence import Evidence
from ..contracts.money import Currency
from ..contracts.option import UNTRAINED, Kind
from ..contracts.settings import ModelSettings, TrainSettings

if TYPE_CHECKING:
    from .vision import VentureFile

THIS_MACHINE = "this machine"
SIZES = ("tiny", "small", "medium", "large")
Share = Annotated[float, Field(gt=0, le=1)]


class BoughtApi(Config):
    """A model behind somebody else's HTTP API, as OpenAI's clients call it."""

    model: str = Field(min_length=1)
    """What the server calls the model."""
    price_in: Evidence
    """The price of 1M tokens that it reads, as CURRENCY/1M tokens."""
    price_out: Evidence
    """The price of 1M tokens that it writes."""
    url: str | None = None
    """The address up to `/chat/completions`; where given and reachable, a pilot measures it on the venture's own records."""
    key_env: str | None = None
    """The environment variable that holds its key."""
    instruction: str = ""
    """What the model is told to do with each record, in front of the task's own words."""
    tokens_in: Evidence | None = None
    """Tokens read for one request; assumed where neither given nor measured."""
    tokens_out: Evidence | None = None
    """Tokens written for one request; assumed where neither given nor measured."""


class Strategy(Config):
    """One strategy: the fields that are given take the place of venture.yaml's own."""

    name: str = Field(pattern=r"^[^\W_](?:[\w.-]*\w)?$", max_length=40)
    """How the team calls it: letters, digits, hyphens and dots."""
    kind: Kind
    """`scratch`, `fine-tune` (every weight of model.base), `adapter` (beside its frozen weights), `api` (bought), `rules` (no model: what
    you write yourself), or `baseline` (no model of your own: the simplest method worth beating, which the task brings)."""
    model: ModelSettings | None = None
    """As `model`."""
    train: TrainSettings | None = None
    """As `train`."""
    adapter: AdapterSettings | None = None
    """As `adapter`, of the kind adapter."""
    api: BoughtApi | None = None
    """Of the kind api."""
    rules: str | None = Field(None, min_length=1)
    """Of the kind rules: the file that they stand in, relative to venture.yaml."""
    effort_days: Evidence | None = None
    """Working days of people until it serves."""
    evidence: dict[str, Evidence] = {}
    """What is known beside the pilots, and goes before them: a target's metric → what the product will score; `train_hours`,
    `request_seconds` on this machine."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.kind == "api") != (self.api is not None):
            raise ValueError(f"the strategy {self.name!r} is of kind {self.kind}, and api is what describes kind api; give both or neither")
        if (self.kind == "rules") != (self.rules is not None):
            raise ValueError(
                f"the strategy {self.name!r} is of kind {self.kind}, and rules names the file of kind rules; give both or neither"
            )
        if self.kind in UNTRAINED and (self.model or self.train or self.adapter):
            raise ValueError(f"the strategy {self.name!r} is of kind {self.kind}, which trains nothing; leave model, train and adapter out")
        if self.adapter is not None and self.kind != "adapter":
            raise ValueError(f"the strategy {self.name!r} has an adapter and is of kind {self.kind}; write kind: adapter")
        return self


class Machine(Config):
    """A machine to train and serve on."""

    name: str = Field(min_length=1)
    """How it is called."""
    price: Evidence
    """The price of an hour, as CURRENCY/hour."""
    speed: Evidence | None = None
    """How many times as fast it is as this machine, which pilots run on."""
    memory_bytes: int | None = Field(None, gt=0)
    """Its memory; an option that needs more is told as one that cannot be done."""


class PilotSettings(Config):
    """What pilots may take."""

    minutes: float | None = Field(None, gt=0)
    """Of this machine, together; 10 where neither is given."""
    amount: float | None = Field(None, gt=0)
    """In money, at the price of this machine."""
    share: Share | None = None
    """And at most this share of what running every strategy to its end would take."""

    @property
    def allowed_minutes(self) -> float | None:
        """The minutes where no money limits them."""
        return 10.0 if self.minutes is None and self.amount is None else self.minutes


class DecisionSettings(Config):
    """What is to be decided between (venture.yaml: `decision`)."""

    strategies: list[Strategy] = []
    """The strategies; derived from the venture's own model where none is named."""
    machines: list[Machine] = []
    """The machines; this one, at economics.machine_hour or budget.per_hour, where none is named. Each strategy but
    a bought API is looked at on each."""
    pilot: PilotSettings = PilotSettings()
    """What `lodestar decide --pilot` may take."""
    worth: float | None = Field(None, gt=0)
    """What keeping every promise is worth to you, in the budget's currency; the budget's amount where absent."""
    per_day: float | None = Field(None, ge=0)
    """What each day until then costs you; a 365th of `worth` where absent."""
    day_rate: float = Field(0.0, ge=0)
    """What a working day of a person costs."""
    months: float = Field(12.0, ge=0)
    """How long the product serves, for the cost of serving."""
    requests_per_month: Evidence | None = None
    """How often it is asked."""
    busy: Evidence | None = None
    """The share of the rented hours in which the machine answers."""
    currency: Currency | None = None
    """Of all money here; that of economics, else of the budget, where absent."""
    rates: dict[Currency, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Another currency → what one of it is in this one, beside those in economics."""

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        for what, names in (("strategies", [each.name for each in self.strategies]), ("machines", [each.name for each in self.machines])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"two {what} are called {twice!r}; give them different names")
        if len(self.strategies) == 1:
            raise ValueError(f"{self.strategies[0].name!r} is the only strategy, and a decision is between two or more; add another")
        return self


def strategies_of(file: VentureFile) -> list[Strategy]:
    """Those that venture.yaml names; where it names none, no model at all, the one that it describes, and its nearest neighbours.

    The neighbours of a model from scratch are the next size below and above; of an open one, the other way to fine-tune it, and a small
    model from scratch.
    """
    if file.decision.strategies:
        return file.decision.strategies
    model = file.model
    none = Strategy(name="no-model", kind="baseline")
    if model.base is None:
        here = SIZES.index(model.size)
        by_hand = bool(model.overrides)
        # Overrides make a size of their own, somewhere about the one that they start from.
        near = [size for at, size in enumerate(SIZES) if (abs(at - here) <= 1 if by_hand else abs(at - here) == 1)][:3]
        sizes = [Strategy(name=size, kind="scratch", model=ModelSettings(size=size, context=model.context)) for size in near]
        return [none, Strategy(name="as-written" if by_hand else model.size, kind="scratch"), *sizes]
    open_model = model.model_copy(update={"overrides": {}})
    return [
        none,
        Strategy(name="fine-tune", kind="fine-tune"),
        Strategy(name="adapter", kind="adapter", adapter=file.adapter or AdapterSettings()),
        Strategy(name="small", kind="scratch", model=ModelSettings(size="small", context=open_model.context)),
    ]


def settings_of(strategy: Strategy, file: VentureFile) -> dict[str, Any]:
    """The fields of venture.yaml that make a strategy, as JSON; None: the field is to be taken out."""
    if strategy.kind in UNTRAINED:
        return {}
    found: dict[str, Any] = {}
    for name in ("model", "train"):
        given = getattr(strategy, name)
        if given is not None:
            found[name] = given.model_dump(mode="json", exclude_unset=True)
    if strategy.kind == "adapter":
        if strategy.adapter is not None:
            found["adapter"] = strategy.adapter.model_dump(mode="json", exclude_unset=True)
    elif file.adapter is not None:
        found["adapter"] = None
    return found


def with_settings(file: VentureFile, settings: dict[str, Any]) -> VentureFile:
    """venture.yaml as an option makes it.

    Raises:
        UserError: its fields do not fit together.
    """
    from .vision import VENTURE_FILE, VentureFile

    values = {**file.model_dump(mode="json", exclude_unset=True), **settings}
    return VentureFile.parse({name: value for name, value in values.items() if value is not None}, where=VENTURE_FILE)
