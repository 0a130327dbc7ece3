"""Saves a training state in files of limited size: PREFIX-0.pt, PREFIX-1.pt, ... Each is written to a temporary file and then renamed."""
import os

import torch

LIMIT = 15 << 20


def size(value):
    """Bytes of the tensors in a value."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(size, value.values())) if isinstance(value, dict) else 0


def save(prefix, state):
    """Writes `state`. Dicts of tensors are spread over the files; everything else is in the first file."""
    parts, used = [{}], 0
    for key, value in state.items():
        is_tensors = isinstance(value, dict) and value and all(isinstance(v, torch.Tensor) for v in value.values())
        for name, tensor in (value.items() if is_tensors else [(None, value)]):
            bytes_ = size(tensor)
            if used + bytes_ > LIMIT:
                parts.append({})
                used = 0
            used += bytes_
            if name is None:
                parts[0][key] = tensor
            else:
                parts[-1].setdefault(key, {})[name] = tensor.detach().cpu().clone()
    parts[0]["files"] = len(parts)
    for n, part in reversed(list(enumerate(parts))):
        path = f"{prefix}-{n}.pt"
        torch.save(part, path + ".tmp")
        os.replace(path + ".tmp", path)


def load(prefix, device):
    """Reads a state that `save` wrote."""
    state = torch.load(f"{prefix}-0.pt", map_location=device)
    for n in range(1, state.pop("files")):
        for key, value in torch.load(f"{prefix}-{n}.pt", map_location=device).items():
            state.setdefault(key, {}).update(value)
    return state
