"""How long the ladder takes: nine rungs, five folds, five seeds, six contenders with ridge.

Run it from the repository::

    python -m benchmarks.bench_evaluate [--places 10000] [--threads 2] [--kriging]

Wall clock and processor time of every contender, over all rungs. Embedding the places is timed by
itself, since it is done once.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import torch

from satclip_explore.encoders.registry import load_encoder
from training.evaluate import evaluate
from training.evaluation.cells import Step
from training.probes.baselines import task_features
from training.tasks.atlas import load_task
from training.tasks.splits import shuffled


def main() -> None:
    """Run one ladder and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kriging", action="store_true", help="embedding and place as well")
    parser.add_argument("--task", default="elevation")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    task = load_task(chosen.task)
    task = task.subset(sorted(shuffled(len(task), 0)[: chosen.places]))
    began = time.process_time()
    task_features(load_encoder(), task)
    print(f"embedding {len(task):,} places: {time.process_time() - began:.1f} s of processor time")
    wall: dict[str, float] = defaultdict(float)
    processor: dict[str, float] = defaultdict(float)
    last = [time.perf_counter(), time.process_time()]

    def note(step: Step) -> None:
        now = [time.perf_counter(), time.process_time()]
        wall[step.contender] += now[0] - last[0]
        processor[step.contender] += now[1] - last[1]
        last[:] = now

    models = ("ridge", "kriging") if chosen.kriging else ("ridge",)
    evaluate(task, models=models, on_progress=note)
    print(f"{'contender':24} {'wall, s':>9} {'processor, s':>13}")
    for name in wall:
        print(f"{name or 'reading, folds':24} {wall[name]:9.1f} {processor[name]:13.1f}")
    print(f"{'all':24} {sum(wall.values()):9.1f} {sum(processor.values()):13.1f}")


if __name__ == "__main__":
    main()
