"""Terms of a question that say how it is asked, not what: a passage that lacks them may answer it all the same.

As store/terms.py cuts them; in English, German, Chinese, Japanese and Korean. A word that is missing here makes answers a little rarer.
"""

from __future__ import annotations

_ENGLISH = """
who whom whose what which when where why how is are was were be been do does did has have had can could will would should may might the a an
of in on at to for from by with and or as it its there this that these those you i we they he she your my our their
"""
_GERMAN = """
wer wen wem was welche welcher welches welchem welchen wann wo wohin woher warum wieso wie ist sind war waren wurde wurden wird werden hat
haben hatte kann können der die das den dem des ein eine einen einem einer in im am an auf von vom zu zum zur mit und oder es ich wir sie
man
"""
_CHINESE = """
什么 么时 时候 哪里 哪儿 哪个 哪些 哪一 哪年 一个 几个 几点 多少 少钱 多久 多大 多高 多长 多远 谁 为什 怎么 么样 么办 怎样 如何 何时 何地
何处
是什 是谁 是多 是哪 有什 有哪 有多 有几 在哪
吗 呢 的 是 了 么 能 可以 请问 我
"""
_JAPANESE = "か 何 です ます すか ます ですか どこ いつ だれ 誰が なぜ どう どの くら らい 何時 何が 何を とは はど はい は何 は誰"
_KOREAN = "무엇 누구 언제 어디 어떻 떻게 왜 얼마 몇 어느 어떤 인가 인가요 니까 습니 나요 까요"
QUESTION_WORDS = frozenset(" ".join((_ENGLISH, _GERMAN, _CHINESE, _JAPANESE, _KOREAN)).split())
