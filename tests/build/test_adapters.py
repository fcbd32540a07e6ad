"""Adapters on whole models: against `peft` on the same weights, merged and unmerged, and refused where they do not fit."""

import json
import shutil
from typing import Any

import pytest
import torch

from lodestar.build.adapters import (
    adapted_layers,
    add_adapter,
    load_adapter,
    merge,
    remove_adapters,
    save_adapter,
    train_only,
    unmerge,
    use_adapter,
)
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.formats import load_model, save_model
from lodestar.build.formats.save import config_of
from lodestar.build.language import next_token_loss
from lodestar.build.quantize import quantize
from lodestar.contracts.adapter import TARGETS, AdapterSettings
from lodestar.contracts.errors import UserError
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.train.live_bytes import LiveBytes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of the peers

IDS = torch.tensor([[5, 9, 2, 33, 7, 1], [3, 3, 8, 60, 21, 4]])
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "alpha": 8.0},
    "rslora": {"rank": 4, "alpha": 8.0, "rank_stabilized": True},
    "dora": {"rank": 4, "alpha": 8.0, "kind": "dora"},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Family → a folder that `transformers` saved."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    llama = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    gpt2 = transformers.GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    folders = {}
    for name, model in (("llama", transformers.LlamaForCausalLM(llama)), ("gpt2", transformers.GPT2LMHeadModel(gpt2))):
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
    return folders


def theirs(folder):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def stir(model, name="default"):
    """Numbers that are not zero in each of an adapter's matrices."""
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            if (adapter := layer.adapter(name)) is not None:
                adapter.up.normal_(std=0.3, generator=drawn)
                if adapter.magnitude is not None:
                    adapter.magnitude.mul_(1 + 0.2 * torch.rand(adapter.magnitude.shape, generator=drawn))
    return model


def tiny(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"vocabulary_size": 64, "width": 32, "depth": 2, "heads": 4, "context": 32, "feed_forward_width": 48} | changes
    return Transformer(ModelConfig(**shape)).eval()


@torch.no_grad()
def logits_of(model):
    return model(IDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("targets", [TARGETS, ("query", "value", "down")])
def test_peft_reads_what_we_save(bases, tmp_path, family, kind, targets):
    peft = pytest.importorskip("peft")
    base, ours = logits_of(load_model(bases[family])), load_model(bases[family])
    add_adapter(ours, AdapterSettings(targets=list(targets), **KINDS[kind]))
    torch.testing.assert_close(logits_of(ours), base)
    save_adapter(stir(ours), tmp_path / "adapter")
    peer = peft.PeftModel.from_pretrained(theirs(bases[family]), tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = peer(IDS).logits
    assert (expected - base).abs().max() > 0.05
    torch.testing.assert_close(logits_of(ours), expected, rtol=1e-4, atol=1e-4)
    # And back: three of ours may have become one of theirs, of a larger rank.
    again = load_model(bases[family])
    load_adapter(again, tmp_path / "adapter")
    torch.testing.assert_close(logits_of(again), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_we_read_what_peft_saves(bases, tmp_path, family, kind):
    peft = pytest.importorskip("peft")
    targets = {"llama": ["q_proj", "v_proj", "gate_proj", "down_proj"], "gpt2": ["c_attn", "c_fc"]}[family]
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, use_rslora=kind == "rslora", use_dora=kind == "dora", fan_in_fan_out=family == "gpt2",
        rank_pattern={targets[-1]: 2}, alpha_pattern={targets[-1]: 5}, task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(3)
    peer = peft.get_peft_model(theirs(bases[family]), config).eval()
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
            elif "magnitude" in name:
                parameter.mul_(1.2)
        expected = peer(IDS).logits
    peer.save_pretrained(tmp_path / "adapter")
    ours = load_model(bases[family])
    load_adapter(ours, tmp_path / "adapter", "tuned")
    torch.testing.assert_close(logits_of(ours), expected, rtol=1e-4, atol=1e-4)
    # What was one of theirs goes back as one, of the same rank.
    save_adapter(ours, tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert saved["r"] == 4
    assert set(saved["rank_pattern"].values()) == {2}
    peer = peft.PeftModel.from_pretrained(theirs(bases[family]), tmp_path / "again").eval()
    with torch.no_grad():
        torch.testing.assert_close(peer(IDS).logits, expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_peft(bases, tmp_path):
    """One step of training from the same adapter, each matrix compared."""
    peft = pytest.importorskip("peft")
    ours = load_model(bases["llama"])
    add_adapter(ours, AdapterSettings(kind="dora", rank=4))
    save_adapter(stir(ours), tmp_path / "adapter")
    loss, count = next_token_loss(ours, {"tokens": IDS[:, :-1], "targets": IDS[:, 1:]})
    (loss / count).backward()
    peer = peft.PeftModel.from_pretrained(theirs(bases["llama"]), tmp_path / "adapter", is_trainable=True)
    peer(input_ids=IDS, labels=IDS).loss.backward()
    own = adapted_layers(ours)["decoder.blocks.1.attention.query"].adapters["default"]
    other = peer.base_model.model.model.layers[1].self_attn.q_proj
    torch.testing.assert_close(own.down.grad, other.lora_A["default"].weight.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(own.up.grad, other.lora_B["default"].weight.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(own.magnitude.grad, other.lora_magnitude_vector["default"].weight.grad, rtol=1e-3, atol=1e-6)


def test_only_the_adapter_trains():
    model = tiny()
    names = {name for name, _ in model.named_parameters()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    add_adapter(model, AdapterSettings(rank=2, targets=["query", "up"]))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * 2
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    losses = []
    for _ in range(20):
        loss, _ = next_token_loss(model, {"tokens": IDS[:, :-1], "targets": IDS[:, 1:]})
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    remove_adapters(model)
    assert {name for name, _ in model.named_parameters()} == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_merged_is_the_same_and_unmerged_to_the_bit(kind):
    model = tiny(bias=True)
    plain, names = logits_of(model), set(model.state_dict())
    add_adapter(model, AdapterSettings(rank=4, kind=kind))
    before = logits_of(stir(model))
    merge(model)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(logits_of(model), before, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="merged"):
        add_adapter(model, AdapterSettings(), "other")
    unmerge(model)
    assert torch.equal(logits_of(model), before)
    with use_adapter(model, None):
        assert torch.equal(logits_of(model), plain)
    merge(model, keep=False)
    with pytest.raises(UserError, match="no merged adapter"):
        unmerge(model)


def test_merging_for_good_never_holds_both_models():
    model = tiny(width=64, depth=4)
    add_adapter(model, AdapterSettings(rank=2))
    largest, before = max(parameter.nbytes for parameter in model.parameters()), sum(parameter.nbytes for parameter in model.parameters())
    with LiveBytes() as live:
        for parameter in model.parameters():
            live.add(parameter)
        merge(model, keep=False)
    assert max(live.history) < before + 4 * largest  # one layer, with what is added to it


def test_rows_of_a_batch_with_different_adapters():
    model = tiny()
    alone: dict[str | None, torch.Tensor] = {None: logits_of(model)}
    for number, name in enumerate(("poems", "letters")):
        add_adapter(model, AdapterSettings(rank=2 + number, targets=["value", "gate"][: number + 1]), name)
        stir(model, name)
    for name in ("poems", "letters"):
        with use_adapter(model, name):
            alone[name] = logits_of(model)
    assert torch.equal(logits_of(model), alone["letters"])
    with use_adapter(model, ["letters", "poems"]):
        mixed = logits_of(model)
    torch.testing.assert_close(mixed, torch.stack([alone["letters"][0], alone["poems"][1]]))
    with use_adapter(model, [None, "poems"]):
        mixed = logits_of(model)
    torch.testing.assert_close(mixed, torch.stack([alone[None][0], alone["poems"][1]]))
    train_only(model, "poems")
    assert torch.equal(logits_of(model), alone["poems"])
    with pytest.raises(UserError, match=r"unknown adapter 'poem'.*did you mean 'poems'"), use_adapter(model, "poem"):
        pass


def test_only_a_plain_model_is_saved_whole(bases, tmp_path):
    model = load_model(bases["llama"])
    plain = logits_of(model)
    add_adapter(model, AdapterSettings(rank=2))
    with pytest.raises(UserError, match="has adapters"):
        save_model(model, tmp_path / "model")
    tuned = logits_of(stir(model))
    merge(model)
    save_model(model, tmp_path / "model")
    torch.testing.assert_close(logits_of(load_model(tmp_path / "model")), tuned)
    remove_adapters(model)
    quantize(model, 8)
    with pytest.raises(UserError, match="codes"):
        save_model(model, tmp_path / "codes")
    assert not (tmp_path / "codes").exists()
    assert not torch.equal(plain, tuned)


def test_an_adapter_of_the_plain_base_goes_over_its_codes_from_a_folder(bases, tmp_path):
    model = load_model(bases["llama"])
    add_adapter(model, AdapterSettings(rank=2))
    save_adapter(stir(model), tmp_path / "adapter")
    config = config_of(model)
    codes = load_model(bases["llama"])
    quantize(codes, 8)
    save_bundle(tmp_path / "codes", Bundle(codes, config, train_tokenizer(["north"], 258), {}))
    again = load_bundle(tmp_path / "codes", lambda _, config: Transformer(config)).model
    load_adapter(codes, tmp_path / "adapter")
    load_adapter(again, tmp_path / "adapter")
    torch.testing.assert_close(logits_of(again), logits_of(codes))
    other = Transformer(config)
    quantize(other, 8)
    save_bundle(tmp_path / "other", Bundle(other, config, train_tokenizer(["north"], 258), {}))
    with pytest.raises(UserError, match="the adapter is for another base model"):
        load_adapter(load_bundle(tmp_path / "other", lambda _, config: Transformer(config)).model, tmp_path / "adapter")


def refused(bases, folder, family="llama"):
    """The sentence that an adapter is refused with; nothing of the model has changed."""
    model = load_model(bases[family])
    with pytest.raises(UserError) as told:
        load_adapter(model, folder)
    assert not adapted_layers(model)
    return str(told.value)


def test_what_does_not_fit_is_refused(bases, tmp_path):
    model = load_model(bases["llama"])
    add_adapter(model, AdapterSettings(rank=2, targets=["query"]))
    good = tmp_path / "good"
    save_adapter(model, good)
    with pytest.raises(UserError, match="exists"):
        save_adapter(model, good)
    assert "no layer 'model.layers.0.self_attn.q_proj'" in refused(bases, good, "gpt2") or "another base" in refused(bases, good, "gpt2")

    other = tmp_path / "other"
    shutil.copytree(bases["llama"], other)
    changed = theirs(bases["llama"])
    with torch.no_grad():
        changed.model.layers[1].mlp.up_proj.weight.mul_(1.01)
    changed.save_pretrained(other)
    assert "the adapter is for another base model" in refused({"llama": other}, good)

    def variant(name, **fields):
        shutil.copytree(good, tmp_path / name)
        path = tmp_path / name / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return tmp_path / name

    assert "the kind 'IA3'" in refused(bases, variant("ia3", peft_type="IA3"))
    assert "uses 'modules_to_save'" in refused(bases, variant("heads", modules_to_save=["lm_head"]))
    assert "uses 'bias'" in refused(bases, variant("bias", bias="all"))
    assert "has the shapes" in refused(bases, variant("dora", use_dora=True))
    assert "adapter_config.json" in refused(bases, tmp_path)
    broken = variant("broken") / "adapter_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-8])
    assert "damaged" in refused(bases, broken.parent)
    broken.unlink()
    assert "no such file" in refused(bases, broken.parent)


def test_names_that_mean_nothing_are_refused():
    model = tiny(feed_forward="gelu")
    with pytest.raises(UserError, match="unknown target 'gate'"):
        add_adapter(model, AdapterSettings(targets=["gate"]))
    add_adapter(model, AdapterSettings(rank=2))
    for name, what in (("default", "already"), ("a.b", "no name for an adapter")):
        with pytest.raises(UserError, match=what):
            add_adapter(model, AdapterSettings(), name)
    with pytest.raises(UserError, match="no adapter 'x'"):
        merge(model, "x")
