"""A vision-language model that vLLM serves: SmolLM2 behind a tiny vision tower of random weights, in Idefics3's shape.

What it says means nothing, but depends on every pixel: two engines that agree on it saw the same pictures.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
)

PICTURE = 64
TOWER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": PICTURE,
    "patch_size": 16,
}
TOKENS_A_PICTURE = 4
WORDS_OF_PICTURES = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_vision_model(language_model: Path, out: Path) -> Path:
    """The folder of a model that sees through random weights and speaks through those of `language_model`."""
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    speaks = AutoModelForCausalLM.from_pretrained(language_model, dtype=torch.float32)
    tokenizer.add_special_tokens({"additional_special_tokens": WORDS_OF_PICTURES})
    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config=TOWER,
        text_config=speaks.config.to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.model.text_model.load_state_dict(speaks.model.state_dict())
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.generation_config.eos_token_id = speaks.generation_config.eos_token_id
    model.save_pretrained(out)
    longest = {"longest_edge": PICTURE}
    pictures = Idefics3ImageProcessorPil(size=longest, max_image_size=longest, do_image_splitting=False)
    Idefics3Processor(
        image_processor=pictures, tokenizer=tokenizer, image_seq_len=TOKENS_A_PICTURE, chat_template=TEMPLATE
    ).save_pretrained(out)
    return out
