"""The page in a real browser: headless Chromium, driven by Playwright."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from lodestar.build.bundle import load_bundle
from lodestar.build.embed import TextEncoder
from lodestar.deploy.api import PAGE
from lodestar.deploy.documents.indexing import index_folder
from lodestar.deploy.documents.library import Library
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.prepare.tokenizer import special_tokenizer
from lodestar.tasks import find, names

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def poet_url(poet: Service) -> Iterator[str]:
    with serving(poet) as url:
        yield url


@pytest.fixture(scope="module")
def judge_url(judge: Service) -> Iterator[str]:
    with serving(judge) as url:
        yield url


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def offline(poet: Service, prompt: str) -> str:
    return str(poet.task.answer(poet.model, poet.tokenizer, {"prompt": prompt, "max_tokens": 40})["text"])


def test_a_prompt_is_continued_as_it_is_offline(visit: Callable[..., Page], poet_url: str, poet: Service) -> None:
    page = visit(poet_url)
    expect(page.get_by_role("heading", level=1)).to_have_text("tiny-poet")
    expect(page.locator("#scores")).to_contain_text("Bits per byte")
    page.get_by_label("Your beginning").fill("床前明月光，疑是")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Max tokens").fill("40")
    page.get_by_label("Your beginning").press("Control+Enter")
    expect(page.locator("#stats")).to_contain_text("40 tokens")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    assert page.locator("#answer .made").text_content() == offline(poet, "床前明月光，疑是")
    assert re.search(r"first token [\d.]+ m?s · [\d,]+ tokens/s · 40 tokens", str(page.locator("#stats").text_content()).replace("  ", " "))


def test_text_appears_while_it_is_made_and_stop_ends_it(
    visit: Callable[..., Page], slow_poet: Service, start: Callable[..., AbstractContextManager[str]], facts: list[dict[str, Any]]
) -> None:
    with start(slow_poet) as url:
        page = visit(url)
        page.get_by_label("Max tokens").fill("4000")
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Your beginning").fill("月")
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#answer .made")).not_to_be_empty()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#stats")).to_contain_text("stopped")
        expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        expect(page.get_by_role("button", name="Continue")).to_be_enabled()
        text = str(page.locator("#answer .made").text_content())
        page.wait_for_timeout(100)
        assert page.locator("#answer .made").text_content() == text
    assert facts[0]["outcome"] == "cancelled"
    assert 0 < facts[0]["completion_tokens"] < 4000


def test_a_refusal_is_shown_in_its_own_words(visit: Callable[..., Page], poet_url: str) -> None:
    page = visit(poet_url, ready=True)
    page.get_by_label("Your beginning").fill("月" * 1100)
    # The browser itself reports a 400 on the console, so this one is answered on the page's behalf from the server's own words.
    page.route("**/v1/completions", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=_as_event(poet_url)))
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("This model's context is 1024 tokens")


def _as_event(url: str) -> str:
    import httpx

    return f"data: {httpx.post(f'{url}/v1/completions', json={'prompt': '月' * 1100}).text}\n\n"


def test_the_language_switches_and_is_remembered(visit: Callable[..., Page], poet_url: str) -> None:
    page = visit(poet_url)
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_role("button", name="续写", exact=True)).to_be_visible()
    expect(page.locator("#purpose")).to_have_text("续写诗句。")
    expect(page.locator("#scores")).to_contain_text("每字节比特")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.reload()
    expect(page.get_by_label("你的开头")).to_be_visible()


def test_the_browser_s_language_is_the_first_choice(visit: Callable[..., Page], judge_url: str) -> None:
    page = visit(judge_url, locale="zh-CN")
    expect(page.get_by_role("button", name="分类")).to_be_visible()
    expect(page.get_by_text("在代码中调用")).to_be_visible()


def test_every_word_is_there_in_both_languages(visit: Callable[..., Page], poet_url: str) -> None:
    page = visit(poet_url)
    words = page.evaluate(
        "import('/words.js').then(({ WORDS }) => Object.values(WORDS).map((all) => [Object.keys(all), Object.keys(all.metrics)]))"
    )
    assert words[0] == words[1]
    used = set(re.findall(r'data-say(?:-\w+)?="(\w+)"', (PAGE / "index.html").read_text("utf-8")))
    used |= set(re.findall(r'say\("(\w+)"\)', "".join((PAGE / name).read_text("utf-8") for name in ("app.js", "explain.js", "kit.js"))))
    asked = {"label", "placeholder", "run"}
    assert used - asked <= set(words[0][0])
    for form in sorted((PAGE / "forms").iterdir()):
        own = page.evaluate(f"import('/forms/{form.name}').then(({{ words }}) => [words.en, words.zh].map((all) => Object.keys(all)))")
        assert own[0] == own[1]
        used = set(re.findall(r'say\("(\w+)"\)', form.read_text("utf-8")))
        assert asked <= set(own[0]), form.name
        assert used <= {*own[0], *words[0][0]}, form.name


def test_every_metric_of_a_task_has_a_name_on_the_page() -> None:
    """In both languages, which the test above holds to the same names."""
    named = (PAGE / "words.js").read_text("utf-8")
    assert {metric.name for task in map(find, names()) for metric in task.metrics if f" {metric.name}: " not in named} == set()


def test_every_endpoint_has_a_form() -> None:
    served = {task.page_form or task.endpoint.split("/")[0] for task in map(find, names())}
    assert served <= {form.stem for form in (PAGE / "forms").iterdir()}


def test_a_text_is_classified_with_a_bar_for_each_label(visit: Callable[..., Page], judge_url: str, judge: Service) -> None:
    page = visit(judge_url)
    expect(page.locator("#scores")).to_contain_text("91.0%")
    expect(page.locator("#settings")).to_be_hidden()
    page.get_by_label("Your text").fill("春眠不觉晓")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".bars li")).to_have_count(3)
    expected = judge.task.answer(judge.model, judge.tokenizer, {"input": "春眠不觉晓"})
    expect(page.locator(".verdict")).to_have_text(expected["label"])
    widths = page.locator(".bars .fill").evaluate_all("(fills) => fills.map((fill) => parseFloat(fill.style.width))")
    assert widths == pytest.approx(sorted((100 * share for share in expected["probabilities"].values()), reverse=True), abs=0.01)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


def test_an_answer_is_marked_in_its_text(
    visit: Callable[..., Page], reader: Service, start: Callable[..., AbstractContextManager[str]]
) -> None:
    context = "😀 ist neu. " + "Ada met Bob in York. 东山灯塔由林海建于1874年。" * 6
    request = {"question": "Who met Bob?", "context": context}
    with start(reader) as url:
        page = visit(url)
        for threshold in (1e9, -1e9):
            reader.task.state["threshold"] = threshold
            told = reader.task.answer(reader.model, reader.tokenizer, request)
            page.get_by_label("Your question").fill(request["question"])
            page.get_by_label("The text").fill(context)
            page.get_by_role("button", name="Look it up").click()
            expect(page.locator(".verdict")).to_have_text(told["answer"] or "The text does not say.")
            expect(page.locator(".note")).to_contain_text(f"read in {told['windows']} parts")
            if told["answer"]:
                expect(page.locator(".passage mark")).to_be_in_viewport()
            assert page.locator(".passage").text_content() == context
            assert page.locator(".passage mark").all_text_contents() == ([told["answer"]] if told["answer"] else [])
        assert told["answer"] is None
        page.get_by_role("group", name="Examples to try").get_by_role("button").first.click()
        expect(page.get_by_label("The text")).to_have_value(reader.task.request(reader.task.sample()[0])["context"])
        page.get_by_role("button", name="切换到中文").click()
        expect(page.get_by_label("文本", exact=True)).to_be_visible()
        assert overflow(visit(url, size=PHONE, locale="zh-CN")) <= 0


@pytest.fixture(scope="module")
def finder() -> Service:
    task = find("retrieval")()
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 320)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())
    torch.manual_seed(0)
    return Service("finder", task, task.build(config).eval(), tokenizer, config)


def test_texts_are_compared_with_the_first_one(
    visit: Callable[..., Page], finder: Service, start: Callable[..., AbstractContextManager[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["泳池几点关门？", "The pool closes at nine.", "泳池晚上九点关门。", "<b>Dogs</b> are welcome."]
    vectors = np.array([each["embedding"] for each in finder.task.answer(finder.model, finder.tokenizer, {"input": texts})["data"]])
    near = vectors[1:] @ vectors[0]
    with start(finder) as url:
        page = visit(url)
        page.get_by_label("A question, and below it texts").fill("\n".join(["", *texts, " "]))
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".verdict")).to_have_text(texts[0])
        assert page.locator(".bars .label").all_text_contents() == [texts[1 + place] for place in np.argsort(-near)]
        assert [float(text) for text in page.locator(".bars .share").all_text_contents()] == pytest.approx(sorted(near)[::-1], abs=6e-4)
        page.get_by_text("Use it from code").click()
        page.get_by_role("tab", name="Python").click()
        exec(str(page.locator("#snippet").text_content()), {})
        told = np.array(ast.literal_eval(capsys.readouterr().out))
        np.testing.assert_allclose(told, vectors, atol=1e-5)
        page.get_by_role("group", name="Examples to try").get_by_role("button").first.click()
        expect(page.locator(".bars li")).to_have_count(1)
        assert overflow(visit(url, size=PHONE, locale="zh-CN")) <= 0


def test_the_documents_are_asked_where_no_text_is_given(
    visit: Callable[..., Page], reader: Service, start: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "rules.md").write_text("House rules.\n\nThe pool <img src=x onerror=alert(1)> closes at nine.\n")
    index_folder(tmp_path / "docs", tmp_path / "index")
    library = Library.open(tmp_path / "index", lambda folder: load_bundle(folder, lambda _, config: TextEncoder(config)))
    with start(reader.with_library(library)) as url:
        page = visit(url)
        for threshold in (1e9, -1e9):
            reader.task.state["threshold"] = threshold
            page.get_by_label("Your question").fill("When does the pool close?")
            page.get_by_role("button", name="Look it up").click()
            expect(page.locator(".passage")).to_contain_text("The pool <img src=x onerror=alert(1)> closes at nine.")
            expect(page.locator(".note.below")).to_contain_text("rules.md, line")
            if threshold < 0:
                expect(page.locator(".verdict")).to_have_text("Not in the documents.")
            else:
                expect(page.locator(".passage mark")).to_have_text(str(page.locator(".verdict").text_content()))


@pytest.fixture(scope="module")
def translator() -> Service:
    task = find("translation")()
    sample = list(task.sample())
    task.fit(sample)
    tokenizer = train_tokenizer([text for pair in sample for text in task.texts(pair)], 320, task.special_tokens)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2, "context": 64, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    return Service("harbour", task, task.build(config).eval(), tokenizer, config)


def test_a_text_is_translated_between_the_languages_that_are_chosen(
    visit: Callable[..., Page], translator: Service, start: Callable[..., AbstractContextManager[str]]
) -> None:
    def told(request: dict[str, Any]) -> str:
        return str(translator.task.answer(translator.model, translator.tokenizer, request)["text"])

    with start(translator) as url:
        page = visit(url)
        expect(page.get_by_label("From", exact=True)).to_have_value("en")
        expect(page.get_by_label("To", exact=True)).to_have_value("zh")
        page.get_by_label("Your text").fill("- A dog.\n- {name}")
        page.get_by_role("button", name="Translate").click()
        asked: dict[str, Any] = {"input": "- A dog.\n- {name}", "source": "en", "target": "zh"}
        expect(page.locator(".passage")).to_have_text(told(asked))
        expect(page.locator(".passage")).to_have_attribute("lang", "zh")
        page.get_by_label("As", exact=True).select_option("markdown")
        page.get_by_role("button", name="Translate").click()
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
        expect(page.locator(".passage")).to_have_text(told({**asked, "document": True, "format": "markdown"}))
        page.get_by_role("button", name="Swap the languages").click()
        expect(page.get_by_label("From", exact=True)).to_have_value("zh")
        page.get_by_role("button", name="切换到中文").click()
        expect(page.get_by_label("源语言", exact=True)).to_contain_text("中文")
        page.get_by_role("group", name="可以试试的例子").get_by_role("button", name="The harbour").click()
        expect(page.get_by_label("源语言", exact=True)).to_have_value("en")
        assert overflow(visit(url, size=PHONE, locale="zh-CN")) <= 0


def test_a_document_of_any_length_is_summarised(
    visit: Callable[..., Page], reporter: Service, start: Callable[..., AbstractContextManager[str]]
) -> None:
    short, long = "The lamp is lit. 灯亮了。", "The lamp is lit. " * 30
    with start(reporter) as url:
        page = visit(url)
        for document, most in ((short, ""), (long, "5")):
            request = {"input": document, **({"max_tokens": int(most)} if most else {})}
            told = reporter.task.answer(reporter.model, reporter.tokenizer, request)
            page.get_by_label("Your document").fill(document)
            page.get_by_label("Tokens of the summary, at most").fill(most)
            page.get_by_role("button", name="Summarise").click()
            expect(page.locator(".passage")).to_have_text(told["summary"] or "The model wrote nothing.")
            read = "read at once" if told["windows"] == 1 else f"read in {told['windows']} parts"
            expect(page.locator(".note")).to_contain_text(read)
            cut = page.locator(".note", has_text="cut at the length asked for")
            expect(cut).to_have_count(int(told["finish_reason"] == "length"))
        assert told["windows"] > 1
        page.get_by_role("button", name="切换到中文").click()
        expect(page.get_by_label("你的文档")).to_be_visible()
        phone = visit(url, size=PHONE, locale="zh-CN")
        phone.get_by_label("你的文档").fill("灯" * 400)
        phone.get_by_role("button", name="生成摘要").click()
        expect(phone.locator(".note")).to_contain_text("段读完")
        assert overflow(phone) <= 0


def test_an_example_is_tried_with_one_click(visit: Callable[..., Page], judge_url: str) -> None:
    page = visit(judge_url)
    page.get_by_role("group", name="Examples to try").get_by_role("button", name="床前").click()
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.get_by_label("Your text")).to_have_value("床前明月光，疑是地上霜。举头望明月，低头思故乡。")


def test_the_code_shown_gives_the_page_s_answer(
    visit: Callable[..., Page], poet_url: str, poet: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    page = visit(poet_url)
    page.get_by_label("Your beginning").fill("it's 月\n")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Max tokens").fill("40")
    page.get_by_text("Use it from code").click()
    expect(page.locator("#snippet")).to_contain_text(f"curl {poet_url}/v1/completions")
    page.get_by_role("tab", name="Python").click()
    exec(str(page.locator("#snippet").text_content()), {})
    assert capsys.readouterr().out == offline(poet, "it's 月\n") + "\n"


def test_the_code_shown_needs_no_library_where_the_answer_is_whole(
    visit: Callable[..., Page], judge_url: str, judge: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    page = visit(judge_url)
    page.get_by_label("Your text").fill('"true" it\'s null,\n月')
    page.get_by_text("Use it from code").click()
    page.get_by_role("tab", name="Python").click()
    exec(str(page.locator("#snippet").text_content()), {})
    told = ast.literal_eval(capsys.readouterr().out)
    expected = judge.task.answer(judge.model, judge.tokenizer, {"input": '"true" it\'s null,\n月'})
    assert told["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


def test_a_gap_is_filled_where_the_cursor_stands(visit: Callable[..., Page], coder: Service) -> None:
    with serving(coder) as url:
        page = visit(url)
        expect(page.get_by_text("The model writes at the cursor.")).to_be_visible()
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Max tokens").fill("12")
        page.get_by_label("Your beginning").fill("def f(x):\n    return x")
        for _ in range(8):
            page.get_by_label("Your beginning").press("ArrowLeft")
        page.get_by_label("Your beginning").press("Control+Enter")
        expect(page.locator("#stop")).to_be_disabled()
        told = coder.task.answer(coder.model, coder.tokenizer, {"prompt": "def f(x):\n    ", "suffix": "return x", "max_tokens": 12})
        expect(page.locator("#answer .made")).to_have_text(told["text"])
        expect(page.locator("#answer .given").last).to_have_text("return x")
        page.get_by_text("Use it from code").click()
        expect(page.locator("#snippet")).to_contain_text('"suffix":"return x"')


def test_a_conversation_is_remembered_until_a_new_one_begins(visit: Callable[..., Page], chat: Service) -> None:
    with serving(chat) as url:
        page = visit(url)
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Max tokens").fill("12")
        page.get_by_label("Instructions").fill("Be brief.")
        said: list[dict[str, str]] = [{"role": "system", "content": "Be brief."}]
        for question in ("Which way is north?", "水多深？"):
            said.append({"role": "user", "content": question})
            page.get_by_label("Your message").fill(question)
            page.get_by_role("button", name="Send").click()
            expect(page.locator("#stop")).to_be_disabled()
            told = chat.task.answer(chat.model, chat.tokenizer, {"messages": said, "max_tokens": 12})["message"]["content"]
            expect(page.locator(".turn").last.locator(".made")).to_have_text(told)
            said.append({"role": "assistant", "content": told})
        expect(page.get_by_label("Your message")).to_have_value("")
        page.reload()
        expect(page.locator(".turn")).to_have_count(4)
        expect(page.get_by_label("Instructions")).to_have_value("Be brief.")
        page.get_by_role("button", name="切换到中文").click()
        expect(page.locator(".turn .who").first).to_have_text("你")
        page.get_by_role("button", name="新对话").click()
        expect(page.locator("#result")).to_be_hidden()
        page.reload()
        expect(page.locator("#workshop")).to_be_visible()
        expect(page.locator(".turn")).to_have_count(0)


def test_a_message_that_was_not_answered_was_not_said(visit: Callable[..., Page], chat: Service) -> None:
    with serving(chat) as url:
        page = visit(url)
        refusal = 'data: {"error": {"message": "The server is busy."}}\n\n'
        page.route("**/v1/chat/completions", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=refusal))
        page.get_by_label("Your message").fill("Hello")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("alert")).to_contain_text("The server is busy.")
        expect(page.get_by_label("Your message")).to_have_value("Hello")
        page.reload()
        expect(page.locator("#workshop")).to_be_visible()
        expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Callable[..., Page], poet_url: str, judge_url: str, scheme: str
) -> None:
    for url, label in ((poet_url, "你的开头"), (judge_url, "你的文本")):
        page = visit(url, size=PHONE, locale="zh-CN", color_scheme=scheme)
        assert overflow(page) <= 0
        page.get_by_label(label).fill("long" * 40)
        page.locator("#run").click()
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#stop")).to_be_disabled()
        page.locator("#code summary").click()
        assert overflow(page) <= 0


def test_the_theme_switches_and_is_remembered(visit: Callable[..., Page], judge_url: str) -> None:
    page = visit(judge_url, color_scheme="light")

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.get_by_role("button", name="Light or dark").click()
    dark = ground()
    assert light != dark
    page.reload()
    expect(page.locator("#workshop")).to_be_visible()
    assert ground() == dark


def test_every_control_has_a_name_and_the_keyboard_reaches_it(visit: Callable[..., Page], poet_url: str) -> None:
    page = visit(poet_url)
    controls = page.locator("button:visible, input:visible, textarea:visible, summary:visible")
    for control in controls.all():
        named = control.evaluate("(e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '').trim()")
        assert named, control.evaluate("(e) => e.outerHTML")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id || location.hash") in ("input", "#input")


def test_the_key_is_asked_for_where_the_server_has_one(
    start: Callable[..., AbstractContextManager[str]], judge: Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LODESTAR_API_KEY", "polaris")
    with start(judge) as url:
        page = browser.new_page(locale="en-US")  # the browser reports the 401 on the console, so this page's is not watched
        page.goto(url)
        page.get_by_label("This server asks for an API key").fill("polaris")
        page.get_by_role("button", name="Use key").click()
        expect(page.get_by_role("button", name="Classify")).to_be_visible()
        page.get_by_label("Your text").fill("a")
        page.get_by_role("button", name="Classify").click()
        expect(page.locator(".verdict")).to_be_visible()
        page.get_by_text("Use it from code").click()
        assert "polaris" not in str(page.locator("#snippet").text_content())
        page.context.close()


@pytest.fixture(scope="module")
def archive() -> Service:
    """A recommender of the sample's films, with random weights."""
    task = find("recommendation")()
    gathered = task.gather(((record, "") for record in task.sample()), {})
    assert gathered is not None
    task.fit([example for example, _ in gathered])
    shape: dict[str, Any] = {"width": 32, "depth": 1, "heads": 2, "context": 16, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    return Service("archive-v1", task, task.build(config).eval(), special_tokenizer(), config)


def test_items_are_found_and_what_comes_next_has_its_reasons(
    visit: Callable[..., Page], archive: Service, start: Callable[..., AbstractContextManager[str]]
) -> None:
    first, second = "Snow Bridge / 雪桥", "Soup for Forty / 四十人的汤"
    expected = archive.answer({"history": [first, second, "<b>?</b>"], "k": 10})
    with start(archive) as url:
        page = visit(url)
        page.get_by_label("Find an item").fill("snow br")
        page.get_by_role("button", name=first).click()
        page.get_by_label("Find an item").fill("四十人")
        expect(page.get_by_role("button", name=second)).to_be_visible()
        page.get_by_label("Find an item").press("Enter")  # takes the first one, and asks nothing yet
        history = page.get_by_label("What was chosen")
        expect(history).to_have_value(f"{first}\n{second}")
        history.fill(f"{first}\n{second}\n<b>?</b>\n")
        page.get_by_role("button", name="Recommend").click()
        expect(page.locator(".picks li")).to_have_count(10)
        shown = page.locator(".picks li").all_inner_texts()
        for line, told in zip(shown, expected["recommendations"], strict=True):
            assert line.startswith(told["title"])
            assert line.count("because of") == len(told["because"])
            assert all(
                f"because of {reason['title']}: {np.exp(reason['influence']):,.1f}".rstrip("0").rstrip(".") in line
                for reason in told["because"]
            )
        assert any("because of" in line for line in shown)
        expect(page.locator(".note")).to_have_text("Not in the catalogue, and left out: <b>?</b>.")
        history.fill("")
        page.get_by_role("button", name="Recommend").click()
        expect(page.locator(".note")).to_have_text("Nothing to go by: what is chosen most.")
        phone = visit(url, size=PHONE, locale="zh-CN")
        phone.get_by_role("group", name="可以试试的例子").get_by_role("button").first.click()
        expect(phone.locator(".picks li").first).to_be_visible()
        assert overflow(phone) <= 0


@pytest.fixture(scope="module")
def viewer() -> Service:
    task = find("image-classification")({"size": 16, "patch": 4})
    task.fit(task.sample())
    config = ModelConfig.from_dict({"width": 32, "depth": 2, "heads": 2, "initial_std": 0.3, **task.architecture()})
    torch.manual_seed(0)
    return Service("viewer", task, task.build(config).eval(), special_tokenizer(), config)


def test_a_picture_is_chosen_or_dropped_and_looked_at(
    visit: Callable[..., Page], viewer: Service, start: Callable[..., AbstractContextManager[str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    content = viewer.task.sample()[3].image.read()  # type: ignore[attr-defined] # a picture's record
    (tmp_path / "picture.png").write_bytes(content)
    expected = viewer.answer(viewer.task.request(viewer.task.sample()[3]))
    best = sorted(expected["probabilities"], key=expected["probabilities"].get, reverse=True)
    with start(viewer) as url:
        page = visit(url)
        expect(page.locator("#input")).to_be_hidden()
        page.get_by_role("button", name="Look at it").click()
        expect(page.get_by_role("alert")).to_have_text("Choose a picture first.")
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "picture.png")
        expect(page.locator("#preview")).to_be_visible()
        page.get_by_role("button", name="Look at it").click()
        expect(page.locator(".verdict")).to_contain_text(expected["label"])
        assert page.locator(".bars .label").all_text_contents() == best
        assert page.locator(".seen").evaluate("(image) => image.naturalWidth") == 24
        page.evaluate(
            """async () => {
                const file = new File(["no picture"], "notes.png", { type: "image/png" });
                const data = new DataTransfer();
                data.items.add(file);
                document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
            }"""
        )
        expect(page.locator("#preview")).to_have_attribute("src", re.compile("^data:image/png;base64,bm8g"))
        page.get_by_text("Use it from code").click()
        page.get_by_role("tab", name="Python").click()
        monkeypatch.chdir(tmp_path)
        exec(str(page.locator("#snippet").text_content()), {})
        assert ast.literal_eval(capsys.readouterr().out)["probabilities"] == expected["probabilities"]
        phone = visit(url, size=PHONE, locale="zh-CN", has_touch=True, is_mobile=True)
        phone.get_by_role("group", name="可以试试的例子").get_by_role("button").first.click()
        expect(phone.locator(".bars li")).to_have_count(8)
        expect(phone.get_by_text("拍照")).to_be_visible()
        assert overflow(phone) <= 0
