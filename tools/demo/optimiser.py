"""Muon for projections and experts, Adam for all other parameters. State and rates are tensors, so that a graph can record a step."""
import torch

from model import MTP

ADAM_PARTS = ("embed.", "head.weight", "hc_", "gate.weight", ".ape", ".indexer.")
MOMENTUM, BETAS, DECAY = 0.95, (0.9, 0.95), 0.01


def uses_muon(name, weight):
    """Whether Muon trains a parameter: matrices of projections and experts."""
    return weight.ndim >= 2 and not any(part in name for part in ADAM_PARTS)


def orthogonal(gradients):
    """Five Newton-Schulz steps towards the nearest orthogonal matrices [n, r, c]."""
    tall = gradients.shape[1] > gradients.shape[2]
    x = gradients.transpose(1, 2) if tall else gradients
    x = x.to(torch.bfloat16)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Optimiser:
    """The state of all parameters. A step changes only the parameters that it names."""

    def __init__(self, weights):
        self.weights = {name: w for name, w in weights.items() if w.requires_grad}
        self.first = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.second = {name: torch.zeros_like(w) for name, w in self.weights.items() if not uses_muon(name, w)}
        some = next(iter(self.weights.values()))
        self.counts = {kind: torch.zeros((), device=some.device) for kind in ("model", "indexer", "draft")}

    def names(self, indexer, draft):
        """The parameters that a stage trains."""
        return [name for name in self.weights if (indexer or ".indexer." not in name) and (draft or not name.startswith(MTP))]

    def state(self):
        """The state that a checkpoint stores."""
        return dict(first={n: t.to(torch.bfloat16) for n, t in self.first.items()}, second={n: t.to(torch.bfloat16) for n, t in self.second.items()},
                    counts=dict(self.counts))

    def forget(self):
        """Resets the state to that before the first step."""
        for tensors in (self.first, self.second, self.counts):
            for tensor in tensors.values():
                tensor.zero_()

    def restore(self, state):
        """Restores the state that a checkpoint stored."""
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"]), (self.counts, state["counts"])):
            for name, tensor in mine.items():
                tensor.copy_(saved[name])

    @torch.no_grad()
    def step(self, names, gradients, rates):
        """Updates the named parameters. `rates` has the learning rates of Muon and of Adam. Returns the norm of Adam's gradients."""
        by_name = dict(zip(names, gradients))
        shapes, norms = {}, []
        for name in names:
            if uses_muon(name, self.weights[name]):
                shapes.setdefault(tuple(self.weights[name].shape[-2:]), []).append(name)
        for shape, members in shapes.items():
            self.muon(shape, members, [by_name[n] for n in members], rates[0])
        for kind, count in self.counts.items():
            of_kind = {"model": lambda n: not n.startswith(MTP) and ".indexer." not in n, "indexer": lambda n: ".indexer." in n, "draft": lambda n: n.startswith(MTP)}[kind]
            members = [n for n in names if of_kind(n) and not uses_muon(n, self.weights[n])]
            if members:
                norms.append(self.adam(members, [by_name[n] for n in members], rates[1], count))
        return norms[0]

    def muon(self, shape, names, gradients, rate):
        """Applies momentum, then orthogonal updates, to all matrices of one shape at once."""
        weights, first = [self.weights[n] for n in names], [self.first[n] for n in names]
        torch._foreach_lerp_(first, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, first, MOMENTUM)
        update = orthogonal(torch.cat([a.reshape(-1, *shape) for a in ahead])) * max(1, shape[0] / shape[1]) ** 0.5
        at = 0
        for weight in weights:
            count = weight.numel() // (shape[0] * shape[1])
            weight.mul_(1 - rate * DECAY).sub_(update[at:at + count].view_as(weight) * rate)
            at += count

    def adam(self, names, gradients, rate, count):
        """Applies Adam without decay. The gradients are clipped together to norm 1."""
        weights, first, second = ([d[n] for n in names] for d in (self.weights, self.first, self.second))
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        gradients = torch._foreach_mul(gradients, 1 / norm.clamp(min=1))
        count.add_(1)
        torch._foreach_lerp_(first, gradients, 1 - BETAS[0])
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - BETAS[1])
        below = torch._foreach_sqrt(second)
        torch._foreach_div_(below, (1 - BETAS[1] ** count).sqrt())
        torch._foreach_add_(below, 1e-8)
        update = torch._foreach_div(first, below)
        torch._foreach_mul_(update, rate / (1 - BETAS[0] ** count))
        torch._foreach_sub_(weights, update)
        return norm
