"""Writes a trained model as a checkpoint folder with V4's names.

    export.py CHECKPOINT FOLDER DATA

CHECKPOINT is the prefix of the files that train.py writes. DATA has tokenizer.json. `dwarfstar quantize FOLDER demo.gguf --recipe q8` then
makes a GGUF file.
"""
import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import save_file

from checkpoint import load
from model import MTP, Config
from pieces import EPS, LIMIT, SCALE, SINKHORN

NAME = "dwarfstar demo"


def config_json(config):
    """The content of config.json, with V4's keys."""
    c = config
    return {
        "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "_name_or_path": NAME, "torch_dtype": "float32",
        "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu", "initializer_range": 0.02,
        "hc_eps": EPS, "hc_mult": 4, "hc_sinkhorn_iters": SINKHORN, "rms_norm_eps": EPS, "swiglu_limit": LIMIT, "routed_scaling_factor": SCALE,
        "max_position_embeddings": c.context, "vocab_size": c.vocab, "hidden_size": c.dim, "num_hidden_layers": len(c.ratios),
        "compress_ratios": list(c.ratios), "num_hash_layers": c.hashed, "num_attention_heads": c.heads, "num_key_value_heads": 1,
        "head_dim": c.head_dim, "qk_rope_head_dim": c.rope_dim, "q_lora_rank": c.q_rank, "o_groups": c.groups, "o_lora_rank": c.o_rank,
        "sliding_window": c.window, "index_n_heads": c.index_heads, "index_head_dim": c.index_dim, "index_topk": c.top_k,
        "n_routed_experts": c.experts, "n_shared_experts": 1, "num_experts_per_tok": c.used, "moe_intermediate_size": c.width,
        "norm_topk_prob": True, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc", "num_nextn_predict_layers": 0,
        "rope_scaling": c.yarn, "rope_theta": c.theta, "compress_rope_theta": c.compress_theta, "tie_word_embeddings": False, "use_cache": True,
    }


def tensors(weights, tables):
    """Every tensor by its checkpoint name, with one tensor for each expert."""
    out = {}
    for name, weight in weights.items():
        weight = weight.detach().float().cpu().contiguous()
        if ".ffn.experts." in name:
            prefix, part = name.rsplit(".", 1)
            out.update({f"{prefix}.{e}.{part}.weight": w.clone() for e, w in enumerate(weight)})
        else:
            out[name] = weight
    out.update({name: table.long().cpu() for name, table in tables.items()})
    return out


def write(folder, config, weights, tables, tokenizer):
    """Writes the folder. The draft block is in a separate file, mtp.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_json(config), indent=1), encoding="utf-8")
    if tokenizer:
        shutil.copy(tokenizer, folder / "tokenizer.json")
    everything = tensors(weights, tables)
    files = {name: "mtp.safetensors" if name.startswith(MTP) else "model.safetensors" for name in everything}
    for file in set(files.values()):
        save_file({name: everything[name] for name in files if files[name] == file}, folder / file)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in everything.values())}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def main():
    checkpoint, folder, data = map(Path, sys.argv[1:4])
    state = load(checkpoint, "cpu")
    write(folder, Config(**state["config"]), state["weights"], state["tables"], data / "tokenizer.json")
    print(f"{folder}: step {state['step']}, {sum(w.numel() for w in state['weights'].values())} parameters")


if __name__ == "__main__":
    main()
