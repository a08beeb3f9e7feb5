"""Fields that clients send and the server does not support, and what it does with each.

The list was read from the sources of the clients: openai, langchain-openai, langchain-deepseek,
litellm, instructor, pydantic-ai, lm-evaluation-harness, Continue, llama.vim, SillyTavern, Open
WebUI, and of the servers that they are also made for: llama-server, vLLM, SGLang, TGI, text
generation web UI. ``tests/server/client_fields.tsv`` names a client for every field.

A field is refused if it would change the answer, unless its value changes nothing. It is ignored,
and named in the response, if the answer is the same without it, or if the model cannot take it into
account and clients send it to every model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

# The names that other servers have for a field.
SYNONYMS = {
    "max_new_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "repetition_penalty": "repeat_penalty",
    "rep_pen": "repeat_penalty",
    "sampler_seed": "seed",
    "stopping_strings": "stop",
    "stop_sequences": "stop",
    "n_cmpl": "n",
    "grammar_string": "grammar",
    "reasoning_budget": "thinking_budget",
    "reasoning_budget_tokens": "thinking_budget",
    "thinking_budget_tokens": "thinking_budget",
}


class FieldAnswer(Enum):
    """What is done about a field."""

    REFUSED = auto()  # 400, unless its value changes nothing
    IGNORED = auto()  # named in the response's header, and once in the log
    PART_OF_ANOTHER = auto()  # says something only together with a field that is decided itself


@dataclass(frozen=True)
class IgnoredField:
    """A field that was sent and is not obeyed, and why that is harmless."""

    name: str
    reason: str


@dataclass(frozen=True)
class FieldRule:
    """What is done about one field.

    Attributes:
        answer: What is done.
        reason: Why, for the client.
        neutral: Values that change nothing.
    """

    answer: FieldAnswer
    reason: str
    neutral: tuple[Any, ...] = ()

    def says_nothing(self, value: Any) -> bool:
        """Return whether ``value`` changes nothing: a neutral one, or an empty list or object."""
        if isinstance(value, list | dict | str) and not value:
            return True
        return any(
            value == each and isinstance(value, bool) is isinstance(each, bool)
            for each in self.neutral
        )


@dataclass(frozen=True)
class FieldTable:
    """What a format does about fields that its schema does not have.

    Attributes:
        rules: A rule for each field, by its path.
        synonyms: Other names for fields of the schema.
    """

    rules: Mapping[str, FieldRule]
    synonyms: Mapping[str, str] = field(default_factory=dict)


UNKNOWN_FIELD = FieldRule(FieldAnswer.IGNORED, "the server does not know this field")
UNSUPPORTED_SAMPLER = "this sampler is not supported; temperature, top_p, top_k and min_p are"
SAME_ANSWER = "the answer is the same without it"
FOR_OPENAI = "it is for OpenAI's own servers; the answer is the same without it"
FOR_LLAMA_SERVER = "it is for llama-server; the answer is the same without it"
FOR_ROUTERS = "it is for a service that chooses between providers"
TEXT_ONLY = "the model writes only text"
NO_SEARCH = "this server does not search the web"
HINT = "a hint that DeepSeek's models do not support"
OLLAMA = "it is Ollama's; send the settings themselves, such as temperature or max_tokens"


def refused(reason: str, **fields: tuple[Any, ...]) -> Iterator[tuple[str, FieldRule]]:
    """Yield a rule for each field that is refused, with the values that change nothing."""
    for name, neutral in fields.items():
        yield name, FieldRule(FieldAnswer.REFUSED, reason, neutral)


def named_fields(answer: FieldAnswer, reason: str, *names: str) -> Iterator[tuple[str, FieldRule]]:
    """Yield a rule for each of ``names``, whatever its value is."""
    for name in names:
        yield name, FieldRule(answer, reason)


CLIENT_FIELDS: dict[str, FieldRule] = dict(
    [
        *refused(
            UNSUPPORTED_SAMPLER,
            adaptive_target=(-1,),
            do_sample=(True,),
            dry_multiplier=(0,),
            dynamic_temperature=(False,),
            dynatemp_range=(0,),
            early_stopping=(False,),
            encoder_repetition_penalty=(1,),
            epsilon_cutoff=(0,),
            eta_cutoff=(0,),
            guidance_scale=(1,),
            mirostat=(0,),
            mirostat_mode=(0,),
            no_repeat_ngram_size=(0,),
            nsigma=(0, -1),
            num_beams=(1,),
            penalty_alpha=(0,),
            smoothing_factor=(0,),
            temperature_last=(False,),
            tfs=(1,),
            tfs_z=(1,),
            top_a=(0,),
            top_n_sigma=(-1, 0),
            typical=(0, 1),
            typical_p=(0, 1),
            use_beam_search=(False,),
            xtc_probability=(0,),
        ),
        *named_fields(
            FieldAnswer.PART_OF_ANOTHER,
            SAME_ANSWER,
            "adaptive_decay",
            "dry_allowed_length",
            "dry_base",
            "dry_penalty_last_n",
            "dry_sequence_breakers",
            "dynatemp_exponent",
            "dynatemp_high",
            "dynatemp_low",
            "length_penalty",
            "mirostat_eta",
            "mirostat_tau",
            "negative_prompt",
            "smoothing_curve",
            "xtc_threshold",
        ),
        *refused(
            "it would end the answer elsewhere; max_tokens and stop are supported",
            ban_eos_token=(False,),
            ignore_eos=(False,),
            include_stop_str_in_output=(False,),
            min_length=(0,),
            min_tokens=(0,),
            stop_regex=(),
            stop_token_ids=(),
        ),
        *refused(
            "use logit_bias to weight tokens",
            allowed_token_ids=(),
            bad_words=(),
            custom_token_bans=(),
            logits_processors=(),
        ),
        *refused(
            "the prompt is written as the model's vendor specifies",
            add_generation_prompt=(True,),
            chat_template=(),
            continue_final_message=(False,),
            documents=(),
            truncate_prompt_tokens=(-1,),
        ),
        *refused("logprobs and top_logprobs are supported", n_probs=(0,), prompt_logprobs=(0,)),
        *refused(TEXT_ONLY, audio=(), modalities=(["text"],)),
        *refused(NO_SEARCH, web_search_options=(), web_search=(False,), search_parameters=()),
        *refused("no adapter is loaded", lora=(), lora_request=()),
        *refused("its content belongs at the top level of the request", extra_body=()),
        *refused(OLLAMA, options=(), format=("json",)),
        *refused(
            "reasoning comes in reasoning_content",
            reasoning_format=("auto", "deepseek", "deepseek-legacy", "parsed"),
            separate_reasoning=(True,),
        ),
        *refused("use tools or response_format", structural_tag=(), grammar_lazy=()),
        *refused("a text prompt begins as the model's vendor specifies", add_bos_token=(True,)),
        *named_fields(
            FieldAnswer.IGNORED,
            FOR_OPENAI,
            "metadata",
            "moderation",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
        ),
        *named_fields(FieldAnswer.IGNORED, HINT, "verbosity", "priority"),
        *named_fields(
            FieldAnswer.IGNORED,
            FOR_LLAMA_SERVER,
            "backend_sampling",
            "cache_prompt",
            "chat_format",
            "id_slot",
            "n_cache_reuse",
            "n_discard",
            "n_keep",
            "parse_tool_calls",
            "post_sampling_probs",
            "reasoning_control",
            "response_fields",
            "return_progress",
            "return_tokens",
            "sse_ping_interval",
            "timings_per_token",
            "verbose",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            "an answer can be limited by tokens, not by time",
            "t_max_predict_ms",
            "t_max_prompt_ms",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            "the order is fixed: temperature, top_k, top_p, min_p",
            "sampler_order",
            "sampler_priority",
            "samplers",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            "penalties count all tokens of prompt and answer",
            "penalty_range",
            "rep_pen_range",
            "repeat_last_n",
            "repetition_penalty_range",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            FOR_ROUTERS,
            "models",
            "plugins",
            "provider",
            "route",
            "transforms",
            "usage",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            SAME_ANSWER,
            "add_special_tokens",
            "api_server",
            "api_type",
            "cache_salt",
            "continuous_usage_stats",
            "guided_decoding_backend",
            "guided_whitespace_pattern",
            "keep_alive",
            "kv_transfer_params",
            "legacy_api",
            "min_keep",
            "mm_processor_kwargs",
            "request_id",
            "return_token_ids",
            "skip_special_tokens",
            "spaces_between_special_tokens",
            "truncation_length",
            "vllm_xargs",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            "the family's prompts have no names of speakers",
            "messages[].name",
        ),
        *named_fields(
            FieldAnswer.IGNORED,
            SAME_ANSWER,
            "messages[].annotations",
            "messages[].cache_control",
            "messages[].content[].cache_control",
            "messages[].id",
            "messages[].reasoning_details",
            "messages[].refusal",
            "messages[].tool_calls[].index",
            "stream_options.chunk_include_usage",
            "stream_options.continuous_usage_stats",
            "stream_options.include_obfuscation",
            "thinking.display",
            "tools[].cache_control",
        ),
    ]
)

OPENAI_FIELDS = FieldTable(CLIENT_FIELDS, SYNONYMS)
