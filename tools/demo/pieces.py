"""The forward pass as pure functions with weights as arguments, so that one compilation of each serves all layers.

All tokens of a batch are one axis of N = rows x length; only attention distinguishes rows. Matrix products are in bfloat16 on a GPU and in
training; streams, norms, router and hyper-connections are in float32.
"""
import torch
import torch.nn.functional as F

SINKHORN, EPS, LIMIT, SCALE = 20, 1e-6, 10.0, 1.5
# Number format of matrix products, by device. Training sets bfloat16 everywhere.
MATRIX = {"cuda": torch.bfloat16, "cpu": torch.float32}


class Lookup(torch.autograd.Function):
    """Rows of the embedding. The gradient is summed without a sort, so that a graph can record the step."""

    @staticmethod
    def forward(context, weight, ids):
        context.save_for_backward(ids)
        context.rows = weight.shape[0]
        return weight[ids]

    @staticmethod
    def backward(context, gradient):
        ids, = context.saved_tensors
        return gradient.new_zeros(context.rows, gradient.shape[-1]).index_add_(0, ids, gradient), None


def product(x, w):
    """A linear layer."""
    kind = MATRIX[x.device.type]
    return x.to(kind) @ w.to(kind).t()


def half(x):
    """Converts to the number format of matrix products."""
    return x.to(MATRIX[x.device.type])


def rms(x, weight=None):
    """RMS norm in float32."""
    x = x.float()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)
    return x if weight is None else x * weight


def rope(x, cos, sin):
    """Rotates the last channels in pairs of neighbours."""
    plain, turned = x[..., :-2 * cos.shape[-1]], x[..., -2 * cos.shape[-1]:]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    return torch.cat([plain, torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)], -1)


def hc_in(streams, fn, base, scale, norm):
    """Makes the input of a sub-layer from the streams [N, 4, D], and the weights with which `hc_out` merges its output."""
    mixed = F.linear(rms(streams.flatten(1)), fn)
    before = torch.sigmoid(mixed[:, :4] * scale[0] + base[:4]) + EPS
    after = 2 * torch.sigmoid(mixed[:, 4:8] * scale[1] + base[4:8])
    comb = torch.softmax((mixed[:, 8:] * scale[2] + base[8:]).view(-1, 4, 4), -1) + EPS
    comb = comb / (comb.sum(1, keepdim=True) + EPS)
    for _ in range(SINKHORN - 1):
        comb = comb / (comb.sum(2, keepdim=True) + EPS)
        comb = comb / (comb.sum(1, keepdim=True) + EPS)
    return after, comb, half(rms((before.unsqueeze(-1) * streams).sum(1), norm))


def hc_out(streams, y, after, comb):
    """Merges the output of a sub-layer into the streams."""
    y = y.float()
    return torch.stack([after[:, k, None] * y + sum(comb[:, j, k, None] * streams[:, j] for j in range(4)) for k in range(4)], 1)


def queries(x, q_a, q_norm, q_b, kv, kv_norm, cos, sin, head_dim):
    """Low-rank queries, queries [N, H, K] and keys [N, K]."""
    low = half(rms(product(x, q_a), q_norm))
    q = half(rope(rms(product(low, q_b).view(x.shape[0], -1, head_dim)), cos[:, None], sin[:, None]))
    return low, q, half(rope(rms(product(x, kv), kv_norm), cos, sin))


def compress(x, kv, gate, ape, norm, cos, sin, first, ratio):
    """Compressed rows [N / ratio, K]; `first` marks row 0 of each sequence."""
    count = x.shape[0] // ratio
    value, weight = product(x, kv).float().view(count, ratio, -1), product(x, gate).float().view(count, ratio, -1) + ape
    if ratio == 4:
        dim = value.shape[-1] // 2
        earlier = torch.roll(weight[..., :dim], 1, 0).masked_fill(first[:, None, None], float("-inf"))
        value = torch.cat([torch.roll(value[..., :dim], 1, 0), value[..., dim:]], 1)
        weight = torch.cat([earlier, weight[..., dim:]], 1)
    return rope(rms((value * torch.softmax(weight, 1)).sum(1), norm), cos, sin)


def attend(q, kv, rows, sink, visible, window):
    """Attention. q [B, S, H, K]; kv [B, S, K]; rows [B, T, K] or None; visible [1 or B, S, T]; window [S / 128, 128, 256]."""
    batch, length, heads, dim = q.shape
    blocks, scale = length // 128, dim ** -0.5
    kb = kv.view(batch, blocks, 128, dim)
    near = torch.cat([torch.roll(kb, 1, 1), kb], 2)
    by_window = (q.view(batch, blocks, 128 * heads, dim) @ near.transpose(-1, -2)).view(batch, blocks, 128, heads, 256).float() * scale
    by_window = by_window.masked_fill(~window[None, :, :, None, :], float("-inf"))
    most = torch.maximum(by_window.amax(-1), sink)
    if rows is not None:
        count = rows.shape[1]
        by_row = (q.reshape(batch, length * heads, dim) @ rows.transpose(-1, -2)).view(batch, blocks, 128, heads, count).float() * scale
        by_row = by_row.masked_fill(~visible.view(-1, blocks, 128, 1, count), float("-inf"))
        most = torch.maximum(most, by_row.amax(-1))
    most = most.detach()
    near_weight = torch.exp(by_window - most[..., None])
    total = near_weight.sum(-1) + torch.exp(sink - most)
    out = (half(near_weight).view(batch, blocks, 128 * heads, 256) @ near).view(batch, length, heads, dim)
    if rows is not None:
        row_weight = torch.exp(by_row - most[..., None])
        total = total + row_weight.sum(-1)
        out = out + (half(row_weight).view(batch, length * heads, count) @ rows).view(batch, length, heads, dim)
    return out.float() / total.view(batch, length, heads, 1)


def project(out, out_a, out_b, cos, sin, groups):
    """Rotates back and projects in groups: [N, H, K] to [N, D]."""
    out = half(rope(out, cos[:, None], -sin[:, None]))
    grouped = out.reshape(out.shape[0], groups, -1).transpose(0, 1)
    low = torch.bmm(grouped, half(out_a).view(groups, -1, grouped.shape[-1]).transpose(1, 2))
    return product(low.transpose(0, 1).reshape(out.shape[0], -1), out_b)


def experts(x, router, bias, chosen, w1, w2, w3, s1, s2, s3, used):
    """Computes all experts; those that are not chosen have weight 0. Returns the load of each expert too."""
    count, width, dim = w1.shape
    score = torch.sqrt(F.softplus(F.linear(x.float(), router)))
    best = torch.topk(score + bias, used, -1).indices if chosen is None else chosen
    weight = torch.zeros_like(score).scatter(1, best, 1.0)
    load, weight = weight.mean(0), weight * score
    weight = SCALE * weight / (weight.sum(-1, keepdim=True) + 1e-20)
    swiglu = lambda gate, up: F.silu(gate.float().clamp(max=LIMIT)) * up.float().clamp(-LIMIT, LIMIT)
    inner = swiglu(product(x, w1.reshape(-1, dim)), product(x, w3.reshape(-1, dim))).view(-1, count, width) * weight[..., None]
    out = half(inner).flatten(1) @ half(w2).transpose(1, 2).reshape(-1, dim)
    return out + product(half(swiglu(product(x, s1), product(x, s3))), s2), load


def collapse(streams, fn, base, scale):
    """Joins the four streams into one, after the last layer."""
    before = torch.sigmoid(F.linear(rms(streams.flatten(1)), fn) * scale + base) + EPS
    return (before.unsqueeze(-1) * streams).sum(1)


def read_out(streams, fn, base, scale, norm, head, targets):
    """Loss and best token of each position."""
    logits = product(half(rms(collapse(streams, fn, base, scale), norm)), head).float()
    return F.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1)


def draft_in(streams, embedded, e_norm, h_norm, e_proj, h_proj):
    """Streams of the draft block."""
    return product(rms(embedded, e_norm), e_proj).float()[:, None] + product(rms(streams, h_norm), h_proj).float()


PIECES = dict(hc_in=hc_in, hc_out=hc_out, queries=queries, compress=compress, attend=attend, project=project, experts=experts, read_out=read_out,
              draft_in=draft_in)


def compile_pieces():
    """Compiles every piece of the forward pass."""
    torch._dynamo.config.cache_size_limit = 64
    for name, piece in PIECES.items():
        PIECES[name] = torch.compile(piece, dynamic=False)
