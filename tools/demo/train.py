"""Trains the demo model.

    train.py DATA OUT [--minutes 7] [--slice SECONDS] [--resume] ...

Training takes `--minutes` in total, in one process or in several. A process stops after `--slice` seconds and leaves a checkpoint, from
which the next one resumes. Stages and rates depend on the share of the minutes that is spent; compiling and probes do not count. Before the
first step every stage is rehearsed.

`--tune SHARE` takes the weights from --checkpoint and trains them like the last stage, with rows of --length tokens. Its rates start at that
share of the schedule. It also runs without a GPU (--device cpu --no-rehearsal --tokens 8192).

The training writes OUT/checkpoint-N.pt and OUT/log.jsonl.
"""
import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

import checkpoint
import evaluate
from generate import CHAT, CONTEXT_WEIGHT, FAMILIES, TOOLS, Workers
from model import Config, Model, initial
from optimiser import Optimiser
from pieces import MATRIX, compile_pieces

# For each stage: the share of the time at which it ends, row length, shares of recall and of tool rows, weight of the indexer's loss,
# whether selection is on, and whether the draft block trains.
STAGES = [
    (0.12, 1024, (0.15, 0.50), 0.0, False, False),
    (0.52, 1024, (0.22, 0.50), 0.0, False, False),
    (0.60, 2048, (0.28, 0.47), 0.1, False, True),
    (0.82, 8192, (0.40, 0.38), 0.2, False, True),
    (1.00, 8192, (0.38, 0.38), 0.2, True, True),
]
# Shares of recall and of tool rows in tuning.
TUNED = (0.2, 0.68)
WARM_UP, FLAT, FLOOR = 60, 0.30, 0.05
BALANCE = 0.002
# Number of steps that run before one is recorded, and the largest number of seconds that a step counts. Steps that compile take longer.
UNRECORDED, LONGEST = 3, 0.25


class Step:
    """One training step of a stage, recorded where the device allows it."""

    def __init__(self, model, optimiser, length, tokens, stage, record):
        self.model, self.optimiser, self.record = model, optimiser, record
        _, _, _, self.index_weight, self.select, self.draft = stage
        rows, device = tokens // length, model.device
        self.names = optimiser.names(self.index_weight > 0, self.draft)
        self.batch = torch.zeros(3, rows, length + 1, dtype=torch.int64, device=device)
        self.ids, self.marks, self.families = self.batch
        self.rates = torch.zeros(3, device=device)
        self.sums = torch.zeros(6, device=device)
        self.wrong, self.seen = (torch.zeros(len(FAMILIES) + 1, device=device) for _ in range(2))
        self.graph, self.runs = None, 0

    def compute(self):
        """Runs forward pass, backward pass, update and statistics."""
        model, length = self.model, self.ids.shape[1] - 1
        targets, marks = self.ids[:, 1:], self.marks[:, 1:].float()
        weight = marks + CONTEXT_WEIGHT
        sample = torch.topk((marks > 0).float() + torch.rand_like(marks) * 1.2, max(32, length // 16), dim=1).indices if self.index_weight else None
        draft = torch.cat([self.ids[:, 2:], self.ids[:, :1]], 1) if self.draft else None
        out = model(self.ids[:, :-1].contiguous(), targets.contiguous(), sample, self.select, draft)
        total = loss = (out["loss"] * weight).sum() / weight.sum()
        index_loss = torch.zeros_like(loss)
        if self.index_weight:
            index_loss = out["index_loss"]
            total = total + self.index_weight * index_loss
        draft_loss = torch.zeros_like(loss)
        if self.draft:
            further = torch.cat([weight[:, 1:], torch.zeros_like(weight[:, :1])], 1)
            draft_loss = (out["draft_loss"] * further).sum() / further.sum()
            total = total + draft_loss
        gradients = torch.autograd.grad(total, [self.optimiser.weights[n] for n in self.names])
        norm = self.optimiser.step(self.names, gradients, self.rates)
        with torch.no_grad():
            for name, load in out["loads"].items():
                model.weights[name].add_(BALANCE * self.rates[2] * torch.sign(load.mean() - load))
            answers = marks > 0
            answer_loss = (out["loss"] * answers).sum() / answers.sum().clamp(min=1)
            self.sums.add_(torch.stack([loss, answer_loss, index_loss, draft_loss, norm, torch.ones_like(loss)]).detach())
            families = self.families[:, 1:].reshape(-1)
            self.seen.index_add_(0, families, torch.ones_like(families, dtype=torch.float32))
            self.wrong.index_add_(0, families, (out["best"] != targets).reshape(-1).float())

    def run(self, batch, rates):
        """Runs a step on a batch. The first steps are not recorded, because they compile and warm up."""
        self.batch.copy_(torch.from_numpy(np.stack(batch).astype(np.int64)))
        self.rates.copy_(torch.tensor(rates))
        self.runs += 1
        if self.graph is None and self.record and self.runs > UNRECORDED:
            self.capture()
        if self.graph is None:
            self.compute()
        else:
            self.graph.replay()

    def capture(self):
        """Records the step as a graph. Where that fails, steps run unrecorded."""
        started = time.time()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.compute()
            self.graph = graph
            print(f"recorded a step in {time.time() - started:.1f} s", flush=True)
        except Exception as error:  # An unrecorded step trains too.
            self.record = False
            torch.cuda.synchronize()
            print("not recorded:", repr(error)[:600], flush=True)

    def statistics(self):
        """Means since the last call, and the share of wrong tokens by family."""
        loss, answer_loss, index_loss, draft_loss, norm, count = self.sums.tolist()
        wrong, seen = self.wrong.tolist()[1:], self.seen.tolist()[1:]
        for sums in (self.sums, self.wrong, self.seen):
            sums.zero_()
        means = [value / max(count, 1) for value in (loss, answer_loss, index_loss, draft_loss, norm)]
        return means, {family: w / s for family, w, s in zip(FAMILIES, wrong, seen) if s}


def boosts(errors):
    """Factors that draw a family more often if its tokens are wrong more often than those of other families of its kind."""
    out = dict.fromkeys(FAMILIES, 1.0)
    for kind in (CHAT, TOOLS):
        found = {family: errors[family] + 1e-4 for family in kind if family in errors}
        mean = sum(found.values()) / max(len(found), 1)
        out.update({family: min(1.8, max(0.6, (error / mean) ** 0.5)) for family, error in found.items()})
    return out


class Training:
    """The state of a run."""

    def __init__(self, options):
        self.options, self.out = options, options.out
        self.started, self.spent, self.steps, self.stage, self.step, self.scale = time.time(), 0.0, 0, -1, None, 1.0
        self.out.mkdir(parents=True, exist_ok=True)
        self.workers = Workers(options.data, options.workers, options.tokens, options.seed + int(options.resume) * int(time.time()) % 100000)
        self.vocab = self.workers.rows.tokenizer.get_vocab_size()
        self.config = Config(vocab=self.vocab)
        weights, tables = initial(self.config, options.seed)
        state = checkpoint.load(options.checkpoint or self.out / "checkpoint", "cpu") if options.resume or options.tune else None
        if state:
            weights, tables, self.spent, self.steps = state["weights"], state["tables"], state["spent"], state["step"]
        if options.tune and not options.resume:
            self.spent, self.steps = options.tune * options.minutes * 60, 0
        self.stages = [(1.0, options.length, TUNED, *STAGES[-1][3:])] if options.tune else STAGES
        self.longest = math.inf if options.device == "cpu" else LONGEST
        self.model = Model(self.config, weights, tables, options.device)
        self.optimiser = Optimiser(self.model.weights)
        self.tests = evaluate.probe_tests(options.data, options.probe_count) if options.probe else []
        torch.set_float32_matmul_precision("high")
        MATRIX["cpu"] = torch.bfloat16
        if options.compile:
            compile_pieces()
        if options.rehearse:
            self.rehearse()
        if state:
            self.optimiser.restore(state)
        self.say(parameters=sum(w.numel() for w in weights.values()), vocabulary=self.vocab, resumed=bool(state))

    def say(self, **what):
        """Prints a line and appends it to the log."""
        line = json.dumps(what)
        print(line, flush=True)
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def save(self):
        """Writes a checkpoint."""
        weights = {name: w.detach() for name, w in self.model.weights.items()}
        checkpoint.save(self.out / "checkpoint", dict(weights=weights, tables=self.model.tables, **self.optimiser.state(), config=dataclasses.asdict(self.config),
                                                      spent=self.spent, step=self.steps))

    def enter(self, share):
        """Starts the stage at this share of the time, unless it runs already."""
        stage = next(n for n, stage in enumerate(self.stages) if share < stage[0] or n == len(self.stages) - 1)
        if stage == self.stage:
            return
        self.stage, self.step = stage, None
        if self.model.device != "cpu":
            torch.cuda.empty_cache()
        _, length, shares, *_ = self.stages[stage]
        self.length = length
        self.workers.ask(length, shares)
        self.step = self.step_of(self.stages[stage])
        self.say(stage=stage, length=length, at=round(self.spent, 1), step=self.steps)

    def step_of(self, stage):
        """A step of this stage."""
        return Step(self.model, self.optimiser, stage[1], self.options.tokens, stage, self.options.record and self.model.device != "cpu")

    def rehearse(self):
        """Compiles and records a step of every stage with rates of 0, so that errors show before the time is spent."""
        done = set()
        for stage in self.stages:
            if (kind := stage[1:2] + stage[3:]) in done:
                continue
            done.add(kind)
            begun, shape = time.time(), (self.options.tokens // stage[1], stage[1] + 1)
            step, random = self.step_of(stage), np.random.default_rng(0)
            for _ in range(UNRECORDED + 2):
                step.run((random.integers(0, self.vocab, shape), random.integers(0, 2, shape), random.integers(0, 2, shape)), [0.0, 0.0, 0.0])
            loss = step.statistics()[0][0]
            self.say(rehearsed=kind, seconds=round(time.time() - begun, 1), recorded=step.graph is not None, loss=round(loss, 3))
            if not math.isfinite(loss):
                raise SystemExit("a rehearsed step has no finite loss")
            del step
            if self.model.device != "cpu":
                torch.cuda.empty_cache()
        self.optimiser.forget()

    def rates(self, share):
        """The rates of Muon, Adam and the router's balance."""
        factor = min(1, (self.steps + 1) / WARM_UP) * (1 - max(0, (share - FLAT) / (1 - FLAT)) * (1 - FLOOR)) * self.scale
        return [self.options.muon * factor, self.options.adam * factor, factor]

    def probe(self):
        """Logs the share of exact answers by family on a few tests."""
        table = evaluate.score(self.model, self.workers.rows.tokenizer, self.tests, self.options.tokens, select=False, keep_grad=True)
        self.say(probe={family: round(100 * cell["right"], 1) for family, cell in table.items()}, at=round(self.spent, 1), step=self.steps)

    def run(self):
        """Trains until the minutes or the slice are over."""
        options, total = self.options, self.options.minutes * 60
        self.save()
        saved = probed = time.time()
        logged = time.time(), self.steps
        while self.spent < total and time.time() - self.started < options.slice and (not options.steps or self.steps < options.steps):
            share = self.spent / total
            self.enter(share)
            begun = time.time()
            self.step.run(self.workers.next(self.length), self.rates(share))
            self.steps += 1
            if self.steps % options.every == 0:
                means, errors = self.step.statistics()
                now = time.time()
                self.say(step=self.steps, at=round(self.spent, 1), wall=round(now - self.started, 1), loss=round(means[0], 4), answers=round(means[1], 4), index=round(means[2], 4),
                         draft=round(means[3], 4), norm=round(means[4], 3), rate=int((self.steps - logged[1]) * options.tokens / (now - logged[0])),
                         queue=self.workers.queue.qsize(), wrong={f: round(100 * e, 2) for f, e in errors.items()})
                logged = now, self.steps
                if not math.isfinite(means[0]):
                    self.recover()
                    continue
                if self.steps % (4 * options.every) == 0:
                    self.workers.favour(boosts(errors))
                if now - saved > 60:
                    self.save()
                    saved = now
            self.spent += min(self.longest, time.time() - begun)
            if options.probe and time.time() - probed > options.probe:
                self.probe()
                probed = time.time()
                logged = probed, self.steps
        self.save()
        self.workers.stop()
        if self.model.device != "cpu":
            self.say(memory_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1))
        self.say(done=self.spent >= total, step=self.steps, at=round(self.spent, 1), wall=round(time.time() - self.started, 1))

    def recover(self):
        """Returns to the last checkpoint with half the rates, after a loss that is not finite."""
        state = checkpoint.load(self.out / "checkpoint", "cpu")
        with torch.no_grad():
            for name, weight in self.model.weights.items():
                weight.copy_(state["weights"][name])
        self.optimiser.restore(state)
        self.scale *= 0.5
        self.say(recovered=state["step"], scale=self.scale)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="prefix of the files to resume from, if not OUT/checkpoint")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--tune", type=float, default=0.0, help="share of the schedule at which tuning begins")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--no-record", dest="record", action="store_false")
    parser.add_argument("--no-rehearsal", dest="rehearse", action="store_false")
    for name, value in dict(minutes=7.0, slice=540.0, tokens=32768, workers=13, seed=0, steps=0, every=25, length=2048, muon=0.02, adam=0.003, probe=60.0, probe_count=32).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    training = Training(parser.parse_args())
    training.run()


if __name__ == "__main__":
    main()
