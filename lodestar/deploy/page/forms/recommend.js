// What was chosen, one item a line; and what is recommended after it, each with what of the history speaks for it. Items are found by a part
// of their title.

import { ask, byId, call, make, number, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "What was chosen, one a line, the earliest first", placeholder: "Leave empty to see what is popular…", run: "Recommend",
    search: "Find an item and add it", searchPlaceholder: "A part of its title…", found: "What was found", nobody: "no item has this in its title",
    because: (title, times) => `because of ${title}: ${times} times as likely with it`,
    facts: (parameters, context) => `${parameters} parameters · reads the last ${context} items of a history`,
    isNew: "new", newHelp: "Nobody had chosen it when the model was made; its text speaks for it.",
    popular: "Nothing to go by: what is chosen most.", unknown: (items) => `Not in the catalogue, and left out: ${items}.`,
  },
  zh: {
    label: "已经选过的，每行一个，最早的在前", placeholder: "留空则显示热门……", run: "推荐",
    search: "查找并加入", searchPlaceholder: "标题的一部分……", found: "找到的物品", nobody: "没有标题含有这些字",
    because: (title, times) => `因为选过 ${title}：可能性是没选时的 ${times} 倍`,
    facts: (parameters, context) => `${parameters}个参数 · 读取历史中最近的 ${context} 件物品`,
    isNew: "新", newHelp: "模型制作时还没有人选过它，凭文字介绍推荐。",
    popular: "没有可依据的记录，以下是最热门的。", unknown: (items) => `目录中没有，已略去：${items}。`,
  },
};

const FOUND = 6, PAUSE_MS = 150;

export const exampleText = (example) => example.history.join("\n");
export const ready = () => true;
export const request = () => ({ history: byId("input").value.split("\n").map((line) => line.trim()).filter(Boolean), k: 10 });

export function fields() {
  const label = make("label", { for: "search", "data-say": "search" }, say("search"));
  const search = make("input", { id: "search", type: "search", autocomplete: "off", "data-say-placeholder": "searchPlaceholder", placeholder: say("searchPlaceholder") });
  const found = make("div", { id: "found", class: "examples found", role: "group", "aria-live": "polite", "data-say-label": "found", "aria-label": say("found") });
  let pause;
  search.addEventListener("input", (event) => {
    event.stopPropagation(); // it changes no request
    clearTimeout(pause);
    pause = setTimeout(() => look(search.value), PAUSE_MS);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    found.querySelector("button")?.click();
  });
  return [label, search, found];
}

async function look(text) {
  if (!text.trim()) return byId("found").replaceChildren();
  let items = [];
  try {
    ({ items } = await (await call(`/v1/${state.release.endpoint}`, { search: text, k: FOUND })).json());
  } catch {
    return; // the next letter asks again
  }
  if (byId("search").value !== text) return;
  byId("found").replaceChildren(...(items.length ? items.map(choice) : [make("span", { class: "help" }, say("nobody"))]));
}

function choice({ item, title }) {
  const button = make("button", { type: "button", title: item }, title);
  button.addEventListener("click", () => {
    const before = byId("input").value.replace(/\s+$/, "");
    byId("input").value = `${before}${before && "\n"}${title}`;
    byId("input").dispatchEvent(new Event("input", { bubbles: true }));
    byId("search").value = "";
    byId("found").replaceChildren();
    byId("search").focus();
  });
  return button;
}

export async function run(signal) {
  const { recommendations, unknown, fallback } = await ask(request(), signal);
  const notes = [...(fallback ? [say("popular")] : []), ...(unknown.length ? [say("unknown")(unknown.join(", "))] : [])];
  show(
    recommendations.map(({ title }) => title).join("\n"),
    ...notes.map((text) => make("p", { class: "note plain" }, text)),
    make("ol", { class: "picks" }, ...recommendations.map(pick)),
  );
}

function pick({ title, new: isNew, because }) {
  const tag = isNew ? [" ", make("small", { class: "tag", title: say("newHelp") }, say("isNew"))] : [];
  const reasons = because.map((reason) => make("span", { class: "reason" }, say("because")(reason.title, number(Math.exp(reason.influence), 1))));
  return make("li", {}, title, ...tag, ...reasons);
}
