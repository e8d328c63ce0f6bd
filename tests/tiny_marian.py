"""A tiny MarianMT checkpoint with random weights, and a tokenizer trained on a few texts."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import MarianConfig, MarianMTModel

POSITIONS = 40


def save_marian(folder: Path, texts: Sequence[str], codes: Sequence[str] = ()) -> Path:
    """Write a checkpoint as Helsinki-NLP publishes them, and return its folder.

    `codes` are the languages of a model of several, such as `>>fr<<`.
    """
    import sentencepiece

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=trained, vocab_size=300, minloglevel=2
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    learnt = [pieces.id_to_piece(number) for number in range(3, pieces.vocab_size())]
    vocabulary = ["</s>", "<unk>", *learnt, *codes, "<pad>"]  # in Marian's order
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(trained.getvalue())
    numbers = {piece: number for number, piece in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    kind = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    size = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    size |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    size |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": POSITIONS}
    padding = len(vocabulary) - 1
    config = MarianConfig(
        vocab_size=len(vocabulary),
        pad_token_id=padding,
        decoder_start_token_id=padding,
        eos_token_id=0,
        forced_eos_token_id=None,
        init_std=0.5,  # so large that texts differ in their translations
        **size,
    )
    torch.manual_seed(0)
    model = MarianMTModel(config)
    model.final_logits_bias[0, config.eos_token_id] = 5  # so that translations are short
    # The others are as Helsinki-NLP publishes them.
    others = {"max_length": POSITIONS, "num_beams": 4, "bad_words_ids": [[padding]]}
    others |= {"forced_eos_token_id": config.eos_token_id, "renormalize_logits": True}
    model.generation_config.update(min_new_tokens=1, **others)
    model.save_pretrained(folder)
    return folder
