"""The model: DeepSeek V4 at a tiny size, with a forward pass for training.

Parameters are in a dict by their names in V4's checkpoints, with stacked experts. Rows are packed without masks between conversations.

While the indexer learns (`index_loss`), attention sees the window and all compressed rows. With `select` it sees only the rows that the
indexer chooses, as at inference.
"""
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from pieces import PIECES, Lookup, half, product, rope


@dataclass
class Config:
    """Hyper-parameters."""
    vocab: int = 1536
    dim: int = 256
    ratios: tuple = (0, 4, 128, 4, 4)
    heads: int = 8
    head_dim: int = 64
    rope_dim: int = 32
    q_rank: int = 96
    groups: int = 2
    o_rank: int = 64
    window: int = 128
    index_heads: int = 4
    index_dim: int = 64
    top_k: int = 32
    experts: int = 3
    used: int = 2
    width: int = 256
    hashed: int = 1
    context: int = 8192
    yarn: dict = field(default_factory=lambda: {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 65536})
    theta: float = 10000.0
    compress_theta: float = 160000.0


MTP = "mtp.0."


def initial(config, seed=0):
    """Initial parameters by name, and the tables of hash-routed layers."""
    generator = torch.Generator().manual_seed(seed)
    weights, tables = {}, {}
    c = config

    def matrix(name, *shape, std=0.02):
        weights[name] = torch.randn(*shape, generator=generator) * std

    def vector(name, value, *shape):
        weights[name] = torch.full(shape, float(value))

    def mixing(name, outputs):
        matrix(name + "_fn", outputs, 4 * c.dim, std=0.004 if outputs == 24 else 0.02)
        vector(name + "_base", 0, outputs)
        vector(name + "_scale", 1, 3 if outputs == 24 else 1)
        if outputs == 24:
            weights[name + "_base"][8:] = (2 * torch.eye(4)).flatten()

    def compressor(name, ratio, dim):
        width = 2 * dim if ratio == 4 else dim
        vector(name + "ape", 0, ratio, width)
        matrix(name + "wkv.weight", width, c.dim)
        matrix(name + "wgate.weight", width, c.dim)
        vector(name + "norm.weight", 1, dim)

    def layer(name, ratio, hashed):
        a, f = name + "attn.", name + "ffn."
        for part in ("attn", "ffn"):
            mixing(f"{name}hc_{part}", 24)
            vector(f"{name}{part}_norm.weight", 1, c.dim)
        matrix(a + "wq_a.weight", c.q_rank, c.dim)
        vector(a + "q_norm.weight", 1, c.q_rank)
        matrix(a + "wq_b.weight", c.heads * c.head_dim, c.q_rank)
        matrix(a + "wkv.weight", c.head_dim, c.dim)
        vector(a + "kv_norm.weight", 1, c.head_dim)
        vector(a + "attn_sink", 0, c.heads)
        matrix(a + "wo_a.weight", c.groups * c.o_rank, c.heads * c.head_dim // c.groups)
        matrix(a + "wo_b.weight", c.dim, c.groups * c.o_rank)
        if ratio:
            compressor(a + "compressor.", ratio, c.head_dim)
        if ratio == 4:
            matrix(a + "indexer.wq_b.weight", c.index_heads * c.index_dim, c.q_rank)
            matrix(a + "indexer.weights_proj.weight", c.index_heads, c.dim)
            compressor(a + "indexer.compressor.", 4, c.index_dim)
        matrix(f + "gate.weight", c.experts, c.dim)
        if hashed:
            tables[f + "gate.tid2eid"] = torch.stack([torch.randperm(c.experts, generator=generator)[:c.used] for _ in range(c.vocab)])
        else:
            vector(f + "gate.bias", 0, c.experts)
        for expert, rows, columns in (("w1", c.width, c.dim), ("w2", c.dim, c.width), ("w3", c.width, c.dim)):
            matrix(f + "experts." + expert, c.experts, rows, columns)
            matrix(f"{f}shared_experts.{expert}.weight", rows, columns)

    matrix("embed.weight", c.vocab, c.dim, std=0.5)
    matrix("head.weight", c.vocab, c.dim)
    vector("norm.weight", 1, c.dim)
    mixing("hc_head", 4)
    for n, ratio in enumerate(c.ratios):
        layer(f"layers.{n}.", ratio, n < c.hashed)
    layer(MTP, 0, False)
    for name in ("e_proj", "h_proj"):
        matrix(MTP + name + ".weight", c.dim, c.dim, std=0.05)
    for name in ("enorm", "hnorm", "norm"):
        vector(MTP + name + ".weight", 1, c.dim)
    mixing(MTP + "hc_head", 4)
    return weights, tables


def frequencies(config, compressed):
    """Rotary frequencies, with YaRN on compressed layers."""
    dim, pairs = config.rope_dim, torch.arange(0, config.rope_dim, 2, dtype=torch.float64)
    if not compressed:
        return (config.theta ** (-pairs / dim)).float()
    base, yarn = config.compress_theta, config.yarn
    plain = base ** (-pairs / dim)
    edge = lambda turns: dim * math.log(yarn["original_max_position_embeddings"] / (2 * math.pi * turns)) / (2 * math.log(base))
    low, high = max(0.0, math.floor(edge(yarn["beta_fast"]))), min(dim - 1.0, math.ceil(edge(yarn["beta_slow"])))
    stretched = ((torch.arange(dim // 2) - low) / (high + 0.001 * (low == high) - low)).clamp(0, 1)
    return (plain * (1 - stretched) + plain / yarn["factor"] * stretched).float()


class Model:
    """Parameters and the forward pass."""

    def __init__(self, config, weights, tables, device):
        self.config, self.device, self.geometries = config, device, {}
        self.weights = {name: w.to(device).float().requires_grad_(not name.endswith("gate.bias")) for name, w in weights.items()}
        self.tables = {name: t.to(device) for name, t in tables.items()}
        angles = {kind: torch.arange(config.context)[:, None].float() * frequencies(config, kind) for kind in (False, True)}
        self.turns = {kind: (a.cos().to(device), a.sin().to(device)) for kind, a in angles.items()}

    def geometry(self, rows, length):
        """Masks and rotations of a batch shape."""
        if (rows, length) not in self.geometries:
            at = torch.arange(length, device=self.device)
            shape = {kind: tuple(t[:length].repeat(rows, 1) for t in turn) for kind, turn in self.turns.items()}
            for ratio in (4, 128):
                index = torch.arange(length // ratio, device=self.device)
                visible = (index[None] < ((at + 1) // ratio)[:, None])[None]
                shape[ratio] = (visible, *(t[:length:ratio].repeat(rows, 1) for t in self.turns[True]), (index == 0).repeat(rows))
            query, key = torch.arange(128, device=self.device)[:, None], torch.arange(256, device=self.device)[None] - 128
            window = ((key <= query) & (key > query - self.config.window))[None].repeat(length // 128, 1, 1)
            window[0] &= key >= 0
            self.geometries[rows, length] = shape | {"window": window}
        return self.geometries[rows, length]

    def compressed(self, x, name, ratio, shape):
        """Compressed rows under a compressor's name."""
        w, (_, cos, sin, first) = self.weights, shape[ratio]
        return PIECES["compress"](x, w[name + "wkv.weight"], w[name + "wgate.weight"], w[name + "ape"], w[name + "norm.weight"], cos, sin, first, ratio)

    def scores(self, name, x, low, position, keys):
        """The indexer's scores [B, Q, T] for x and low [B, Q, .] at `position` [B, Q]."""
        c, w = self.config, self.weights
        cos, sin = (turn[position][:, :, None] for turn in self.turns[True])
        q = half(rope(product(low, w[name + "wq_b.weight"]).float().view(*position.shape, c.index_heads, c.index_dim), cos, sin))
        weight = F.linear(x.float(), w[name + "weights_proj.weight"]) * (c.index_heads * c.index_dim) ** -0.5
        keys = half(keys).transpose(1, 2)
        return sum(weight[..., h, None] * F.relu(q[:, :, h] @ keys).float() for h in range(c.index_heads))

    def index_loss(self, name, x, low, q, kv, rows, keys, sample):
        """The divergence of the indexer's scores from the attention mass of each compressed row, at sampled positions [B, Q]."""
        batch, count, heads = q.shape[0], rows.shape[1], self.config.heads
        each = torch.arange(batch, device=self.device)[:, None]
        visible = torch.arange(count, device=self.device) < ((sample + 1) // 4)[..., None]
        with torch.no_grad():
            picked, scale = q[each, sample], self.config.head_dim ** -0.5
            by_row = torch.einsum("bqhd,btd->bqht", picked, rows).float() * scale
            at = sample[..., None] - torch.arange(self.config.window, device=self.device)
            near = kv[each[..., None], at.clamp(min=0)]
            by_window = (torch.einsum("bqhd,bqjd->bqhj", picked, near).float() * scale).masked_fill((at < 0)[:, :, None], float("-inf"))
            sink = self.weights[name + "attn_sink"].view(1, 1, heads, 1).expand(*sample.shape, heads, 1)
            both = torch.cat([by_row.masked_fill(~visible[:, :, None], float("-inf")), by_window, sink], -1)
            mass = torch.softmax(both, -1)[..., :count].sum(2)
            total = mass.sum(-1)
            target = mass / (total[..., None] + 1e-9)
        score = self.scores(name + "indexer.", x[each, sample], low[each, sample], sample, keys)
        logs = torch.log_softmax(score.masked_fill(~visible, -1e9), -1)
        loss = (target * (torch.log(target + 1e-9) - logs)).masked_fill(~visible, 0).sum(-1)
        return (loss * (total + 0.02)).sum() / (total.sum() + 1)

    def selected(self, name, x, low, keys, visible):
        """A mask [B, S, T] of the visible rows that the indexer chooses."""
        batch, length = x.shape[:2]
        position = torch.arange(length, device=self.device)[None]
        masks = []
        with torch.no_grad():
            for b in range(batch):
                score = self.scores(name, x[b:b + 1], low[b:b + 1], position, keys[b:b + 1]).masked_fill(~visible, float("-inf"))
                best = score.topk(self.config.top_k, -1).indices
                masks.append(torch.zeros_like(visible).scatter(-1, best, True) & visible)
        return torch.cat(masks)

    def layer(self, streams, name, ratio, shape, rows_shape, flat, sample, select):
        """Runs one layer. Returns the streams, the indexer's loss or None, and the load of the experts."""
        c, w = self.config, self.weights
        batch, length = rows_shape
        cos, sin = shape[bool(ratio)]
        a, index_loss = name + "attn.", None
        after, comb, x = PIECES["hc_in"](streams, w[name + "hc_attn_fn"], w[name + "hc_attn_base"], w[name + "hc_attn_scale"], w[name + "attn_norm.weight"])
        low, q, kv = PIECES["queries"](x, w[a + "wq_a.weight"], w[a + "q_norm.weight"], w[a + "wq_b.weight"], w[a + "wkv.weight"], w[a + "kv_norm.weight"],
                                       cos, sin, c.head_dim)
        q, kv, rows, visible = q.view(batch, length, c.heads, -1), kv.view(batch, length, -1), None, None
        if ratio:
            visible = shape[ratio][0]
            rows = half(self.compressed(x, a + "compressor.", ratio, shape)).view(batch, -1, c.head_dim)
        if ratio == 4 and (sample is not None or select and rows.shape[1] > c.top_k):
            by_row = lambda t: t.detach().view(batch, length, -1)
            keys = self.compressed(x.detach(), a + "indexer.compressor.", 4, shape).view(batch, -1, c.index_dim)
            if sample is not None:
                index_loss = self.index_loss(a, by_row(x), by_row(low), q, kv, rows, keys, sample)
            if select and rows.shape[1] > c.top_k:
                visible = self.selected(a + "indexer.", by_row(x), by_row(low), keys, visible)
        out = PIECES["attend"](q, kv, rows, w[a + "attn_sink"], visible, shape["window"])
        y = PIECES["project"](out.view(-1, c.heads, c.head_dim), w[a + "wo_a.weight"], w[a + "wo_b.weight"], cos, sin, c.groups)
        streams = PIECES["hc_out"](streams, y, after, comb)
        f = name + "ffn."
        after, comb, x = PIECES["hc_in"](streams, w[name + "hc_ffn_fn"], w[name + "hc_ffn_base"], w[name + "hc_ffn_scale"], w[name + "ffn_norm.weight"])
        table = self.tables.get(f + "gate.tid2eid")
        stacked = [w[f + "experts." + e] for e in ("w1", "w2", "w3")] + [w[f"{f}shared_experts.{e}.weight"] for e in ("w1", "w2", "w3")]
        y, load = PIECES["experts"](x, w[f + "gate.weight"], w.get(f + "gate.bias"), None if table is None else table[flat], *stacked, c.used)
        return PIECES["hc_out"](streams, y, after, comb), index_loss, load

    def __call__(self, ids, targets, sample=None, select=False, draft=None):
        """Returns losses and best tokens by position. ids and targets [B, S]; `draft` has the targets of the draft block, one token further."""
        w, shape = self.weights, self.geometry(*ids.shape)
        flat = ids.reshape(-1)
        streams = Lookup.apply(w["embed.weight"], flat)[:, None].expand(-1, 4, -1).float()
        index_loss, loads = 0.0, {}
        for n, ratio in enumerate(self.config.ratios):
            name = f"layers.{n}."
            streams, loss, load = self.layer(streams, name, ratio, shape, ids.shape, flat, sample, select)
            index_loss = index_loss if loss is None else index_loss + loss
            if n >= self.config.hashed:
                loads[name + "ffn.gate.bias"] = load
        loss, best = PIECES["read_out"](streams, w["hc_head_fn"], w["hc_head_base"], w["hc_head_scale"], w["norm.weight"], w["head.weight"], targets.reshape(-1))
        out = dict(loss=loss.view(ids.shape), best=best.view(ids.shape), index_loss=index_loss, loads=loads)
        if draft is not None:
            embedded = w["embed.weight"].detach()[targets.reshape(-1)]
            streams = PIECES["draft_in"](streams.detach(), embedded, *(w[f"{MTP}{p}.weight"] for p in ("enorm", "hnorm", "e_proj", "h_proj")))
            streams, _, load = self.layer(streams, MTP, 0, shape, ids.shape, flat, None, False)
            loads[MTP + "ffn.gate.bias"] = load
            loss, best = PIECES["read_out"](streams, w[MTP + "hc_head_fn"], w[MTP + "hc_head_base"], w[MTP + "hc_head_scale"], w[MTP + "norm.weight"],
                                            w["head.weight"].detach(), draft.reshape(-1))
            out.update(draft_loss=loss.view(ids.shape), draft_best=best.view(ids.shape))
        return out
