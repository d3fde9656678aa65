"""The loop: steps, epochs, validation, checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from satclip_explore.encoders.checkpoint import save_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.errors import Offer, RunConflictError
from satclip_explore.progress import Cancel, Cancelled
from training.pretraining.batches import PlacePairs
from training.pretraining.checkpoint import (
    check_description,
    check_settings,
    read_state,
    revision,
    write_state,
)
from training.pretraining.config import PretrainConfig
from training.pretraining.distributed import Processes
from training.pretraining.epoch_probes import probe_scores
from training.pretraining.model import ContrastiveModel, location_encoder, make_optimizer, rate_at
from training.pretraining.progress import Callback, TrainingProgress, past_epochs
from training.pretraining.retrieval import Retrieval, retrieval


class Loop:
    """One run.

    Parameters
    ----------
    config : PretrainConfig
        Settings, with the precision already decided.
    pairs : PlacePairs
        Training and validation pairs.
    groups : tuple of int
        Widths of the groups of image features.
    description : dict
        Of the data; stored in checkpoints.
    folder : pathlib.Path
        Checkpoints go here.
    processes : Processes
        This one among all.
    fresh : bool
        Whether to begin anew where the folder holds a run.
    """

    def __init__(
        self,
        config: PretrainConfig,
        pairs: PlacePairs,
        groups: tuple[int, ...],
        description: dict[str, Any],
        folder: Path,
        processes: Processes,
        *,
        fresh: bool = False,
    ) -> None:
        self.config, self.pairs, self.folder, self.processes = config, pairs, folder, processes
        self.description = description
        self.epoch, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.steps = config.training.epochs * pairs.steps_per_epoch
        self.model = ContrastiveModel(config, groups).to(processes.device)
        self.low_precision = config.training.precision == "bfloat16"
        if self.low_precision:
            self.model.matmul_dtype = torch.bfloat16
        self.optimizer = make_optimizer(self.model, config.training)
        self._resumed = not fresh and self._resume()
        processes.agree(f"{self.epoch} {sorted(description.items())}")
        if not self._resumed:
            pairs.fit(self.model)
        # Eigenvectors have no sign: another processor may have found them turned around.
        processes.broadcast(self.model.buffers())
        pairs.load(self.model)
        self.parallel: nn.Module = self.model
        if processes.count > 1:
            self.parallel = nn.parallel.DistributedDataParallel(self.model, broadcast_buffers=False)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.training.epochs

    @property
    def _steps_done(self) -> int:
        return self.epoch * self.pairs.steps_per_epoch

    def run(
        self, on_progress: Callback | None, on_epoch: Callback | None, cancel: Cancel | None
    ) -> None:
        """Train until the last epoch; raise `Cancelled` when asked to stop."""
        self._started, self._done_before = time.perf_counter(), self.epoch
        if self._resumed and self.processes.is_first:
            # A process killed between the two files leaves an older encoder.
            encoder = location_encoder(self.model, self.config)
            save_encoder(encoder, self.folder, card=self.card())
            if on_progress is not None:
                on_progress(self._resumed_at(encoder))
        while not self.finished:
            before = time.perf_counter()
            loss = self._train_epoch(on_progress, cancel)
            self.epoch += 1
            found = self.validate()
            self._check_finite(found.loss)
            self.seconds += time.perf_counter() - before
            self.history.append({"epoch": self.epoch, "training_loss": loss, **asdict(found)})
            encoder = location_encoder(self.model, self.config)
            progress = self._progress(self._steps_done, loss, found, encoder)
            self.processes.after_first(partial(self._close_epoch, progress, on_epoch))

    def _close_epoch(self, progress: TrainingProgress, on_epoch: Callback | None) -> None:
        """Score the encoder, write the checkpoint, report."""
        assert progress.encoder is not None
        probes = probe_scores(progress.encoder, self.config.training.probes)
        self.history[-1]["probes"] = probes
        self.save(progress.encoder)
        if on_epoch is not None:
            on_epoch(replace(progress, probes=probes))

    def _train_epoch(self, on_progress: Callback | None, cancel: Cancel | None) -> float:
        self.parallel.train()
        losses = []
        own = self.pairs.own(self.processes.rank, self.processes.count)
        step = self._steps_done
        seed = [self.config.training.seed, 6, self.epoch, self.processes.rank]
        rng = np.random.default_rng(seed)
        for rows, versions in self.pairs.epoch(self.epoch):
            if self.processes.any(cancel is not None and cancel.is_set()):
                raise Cancelled(f"stopped in epoch {self.epoch + 1}.")
            loss = self._step(step, *self.pairs.batch(rows[own], versions[own], rng))
            losses.append(loss)
            step += 1
            if on_progress is not None and self.processes.is_first:
                on_progress(self._progress(step, loss))
        return float(np.mean(losses))

    def _step(
        self, step: int, harmonics: torch.Tensor, whitened: torch.Tensor, vectors: torch.Tensor
    ) -> float:
        training = self.config.training
        within = step % self.pairs.steps_per_epoch
        first = within - within % training.accumulate
        share = min(training.accumulate, self.pairs.steps_per_epoch - first)
        with torch.autocast(harmonics.device.type, torch.bfloat16, enabled=self.low_precision):
            on_land = self.pairs.batch_on_land // self.processes.count
            losses = self.parallel(harmonics, whitened, vectors, on_land)
        if within == first:
            self.optimizer.zero_grad(set_to_none=True)
        (losses.total / share).backward()
        if within == first + share - 1:
            self._descend(rate_at(step, self.steps, training))
        loss = self.processes.mean(losses.total.detach())
        self._check_finite(loss, f" at step {step + 1}")
        return loss

    def _descend(self, rate: float) -> None:
        """Take a step along the gradient of one or several batches."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["relative_rate"]
        if self.config.training.gradient_clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.training.gradient_clip)
        self.optimizer.step()
        self.model.clamp_scale()

    def _check_finite(self, loss: float, where: str = " on unseen images") -> None:
        """Refuse to go on, or to write a checkpoint, with weights that are no numbers."""
        if not math.isfinite(loss):
            raise RunConflictError(
                f"the loss is {loss}{where}; lower learning_rate (now "
                f"{self.config.training.learning_rate:g}).",
                Offer.START_OVER,
            )

    @torch.no_grad()
    def validate(self) -> Retrieval:
        """Retrieve the unseen pairs, in float32."""
        self.model.eval()
        locations, images = [], []
        for start in range(0, len(self.pairs.validation), 4096):
            harmonics, whitened = self.pairs.unseen(slice(start, start + 4096))
            image, location = self.model.compare(harmonics, whitened)
            images.append(image)
            locations.append(location)
        return retrieval(torch.cat(images), torch.cat(locations), float(self.model.logit_scale))

    def save(self, encoder: SatCLIP) -> None:
        """Write the state of the run, then the encoder that `load_encoder` opens."""
        write_state(
            self.folder,
            {
                "config": self.config.to_dict(),
                "description": self.description,
                "revision": revision(),
                "epoch": self.epoch,
                "step": self._steps_done,
                "seconds": self.seconds,
                "history": self.history,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random_state": torch.get_rng_state(),
            },
        )
        save_encoder(encoder, self.folder, card=self.card())

    def card(self) -> dict[str, Any]:
        """Return the model card: data, settings, effort and retrieval, as plain JSON."""
        return {
            "data": self.description,
            "settings": self.config.to_dict(),
            "seed": self.config.training.seed,
            "training_places": len(self.pairs.training),
            "unusable_images": self.pairs.unusable,
            "left_out_of_each_epoch": self.pairs.left_out,
            "epochs": self.epoch,
            "steps": self._steps_done,
            "training_minutes": round(self.seconds / 60.0, 2),
            "validation": self.history[-1] if self.history else {},
            "revision": revision(),
            "torch": torch.__version__,
        }

    def _resume(self) -> bool:
        state = read_state(self.folder)
        if state is None:
            return False
        check_settings(state["config"], self.config.to_dict(), self.folder)
        check_description(state["description"], self.description, self.folder)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunConflictError(
                f"the checkpoint in {self.folder} has weights of other shapes than these settings "
                "make.",
                Offer.START_OVER,
            ) from error
        torch.set_rng_state(state["random_state"])
        self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])
        self.history = list(state["history"])
        return True

    def _resumed_at(self, encoder: SatCLIP) -> TrainingProgress:
        past = past_epochs(self.history, self.pairs.steps_per_epoch, self.config.training.epochs)
        now = self._progress(self._steps_done, math.nan, past[-1].validation, encoder)
        return replace(now, stage="resumed", past=past)

    def _progress(
        self,
        step: int,
        loss: float,
        validation: Retrieval | None = None,
        encoder: SatCLIP | None = None,
    ) -> TrainingProgress:
        done = step - self._done_before * self.pairs.steps_per_epoch
        passed = time.perf_counter() - self._started
        seconds_left = passed / done * (self.steps - step) if done else math.nan
        return TrainingProgress(
            stage="training",
            done=step,
            total=self.steps,
            epoch=step // self.pairs.steps_per_epoch,
            epochs=self.config.training.epochs,
            loss=loss,
            logit_scale=float(self.model.logit_scale.detach().exp()),
            learning_rate=rate_at(step - 1, self.steps, self.config.training),
            places_per_second=done * self.config.training.batch_size / passed,
            seconds_left=seconds_left,
            validation=validation,
            encoder=encoder,
        )
