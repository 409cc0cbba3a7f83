"""The training loop: Hugging Face accelerate is the engine."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration, set_seed
from diffusers.optimization import get_scheduler
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from instaface.diffusion.config import ModelConfig, Networks, build
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.errors import InstaFaceError
from instaface.training.cache import CachedLatents
from instaface.training.config import StageConfig, StageName, TrainingConfig, dump_config
from instaface.training.device_maps import DeviceMaps
from instaface.training.draws import DrawBatches, Draws, Sample, Source, fixed_batch, loader
from instaface.training.pair_source import Pairs
from instaface.training.samples import Samples
from instaface.training.sharded import MovingAverage, is_sharded, learning_parameters, set_up_sharding
from instaface.training.stages import AutoencoderStage, DiffusionStage


@dataclass
class TrainingState:
    """What a checkpoint remembers beside the weights.

    Attributes:
        step: updates made.
        best: best validation score so far.
    """

    step: int = 0
    best: float = float("-inf")

    def state_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def train(
    config: TrainingConfig,
    stage_name: StageName,
    source: Source,
    validation: Source,
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    stop_after: int | None = None,
) -> Path:
    """Trains one stage.

    Args:
        config: the model and its stages.
        stage_name: which of them.
        source: training samples.
        validation: validation samples.
        output: folder of the run: ``options.yaml``, ``checkpoints``, ``best``, ``model`` (a pipeline), ``logs``.
        init: a folder with networks to start from, a pipeline's or some of it; the others begin untrained.
        resume: go on from the last checkpoint in ``output``.
        dry_run: print the options and the networks' sizes, and train nothing.
        stop_after: end, with a checkpoint, after so many updates of the whole run.

    Returns:
        The folder of the exported pipeline.

    Raises:
        InstaFaceError: a folder that cannot be used, or weights that do not fit.
    """
    # 1. Resolve the options, show and save them
    options = config.stage(stage_name)
    accelerator = _accelerator(options, output)
    set_up_sharding(accelerator, stage_name, options)
    console = Console(quiet=not accelerator.is_main_process)
    console.print(dump_config(config), highlight=False, markup=False)
    set_seed(options.seed)
    networks = load_networks(config.model, init)
    if init is not None:
        new = [name for name in networks.modules() if not (init / name).is_dir()]
        console.print(f"from {init}; untrained begin: {', '.join(new) or 'none'}")
    decoder_only = getattr(options, "decoder_only", False)
    if decoder_only and init is None:
        raise InstaFaceError("decoder_only needs --init: an encoder that stays as it is must have been trained")
    stage: Any = make_stage(networks, stage_name, options)
    learning = learning_parameters(stage)
    processes = f"{accelerator.num_processes} process" + "es" * (accelerator.num_processes > 1)
    console.print(f"{sum(p.numel() for p in learning):,} parameters learn on {accelerator.device}, {processes}")
    if dry_run:
        return output
    _prepare_folder(output, resume, accelerator)
    if accelerator.is_main_process:
        (output / "options.yaml").write_text(dump_config(config), encoding="utf-8")

    # 2. Optimiser, schedule, moving average
    if stage_name == "autoencoder" and init is None and not resume:
        networks.vae.set_linear(fixed_batch(source, 256)["photo"])
    if not is_sharded(accelerator):  # FSDP splits contiguous weights only
        stage.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(learning, options.learning_rate, options.betas, weight_decay=options.weight_decay)
    schedule = get_scheduler(
        "constant_with_warmup" if options.schedule == "constant" else "cosine",
        optimizer,
        num_warmup_steps=options.warmup_steps,
        num_training_steps=options.steps,
    )
    stage, optimizer = accelerator.prepare(stage, optimizer)
    learning = learning_parameters(stage)
    ema = MovingAverage(learning, decay=options.ema_decay, foreach=not is_sharded(accelerator))
    state = TrainingState()
    accelerator.register_for_checkpointing(schedule, ema, state)

    # 3. Resume
    if resume:
        accelerator.load_state(str(_last_checkpoint(output)))
    end = min(options.steps, stop_after or options.steps)
    place = accelerator.process_index, accelerator.num_processes
    batches = DrawBatches(state.step, end, options.batch, options.micro_batch, *place)

    if getattr(options, "cache_latents", False):
        source = _cached(source, networks, options, output / "latents", accelerator)

    # 4. Train
    accelerator.init_trackers("")
    put = partial(_put, accelerator.device, _device_maps(source, accelerator.device))
    looked_at = put(fixed_batch(validation, options.validation_samples))
    began, first = time.perf_counter(), state.step
    parts: list[dict[str, torch.Tensor]] = []  # figures of the micro-batches of this update
    with _progress(console) as progress:
        task = progress.add_task("training", total=options.steps, completed=state.step, note="")
        for batch in loader(Draws(source, options.seed, getattr(source, "weights", None)), batches, options.workers):
            with accelerator.accumulate(stage):
                with accelerator.autocast():  # which prepare() leaves out under FSDP
                    figures = stage(put(batch))
                accelerator.backward(figures["loss"])
                parts.append({name: value.detach() for name, value in figures.items()})
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(learning, options.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
            if not accelerator.sync_gradients:
                continue
            schedule.step()
            ema.step(learning)
            state.step += 1
            rate = options.batch * (state.step - first) / (time.perf_counter() - began)
            mean = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
            figures = {name: float(accelerator.reduce(value, "mean")) for name, value in mean.items()}
            parts.clear()
            lr = schedule.get_last_lr()[0]
            accelerator.log({**figures, "learning_rate": lr, "pictures_per_second": rate}, step=state.step)
            note = f"loss {figures['loss']:.4f}  {rate:.1f} pictures/s"
            progress.update(task, completed=state.step, note=note)
            if state.step % options.validation_steps == 0 or state.step == end:
                ema.store(learning)
                ema.copy_to(learning)
                averaged = _whole(accelerator, stage, networks, config, stage_name)
                if averaged is not None:
                    found = _validate(accelerator, *averaged, looked_at, options.sheet, config.model, state.step)
                    console.print(f"step {state.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
                    if found["score"] > state.best:
                        save_model(averaged[1], config.model, output / "best")
                    state.best = max(state.best, found["score"])
                ema.restore(learning)
            if state.step % options.checkpoint_steps == 0 or state.step == end:
                _save_checkpoint(accelerator, output, state.step, options.keep)

    # 5. Export the moving average
    ema.copy_to(learning)
    averaged = _whole(accelerator, stage, networks, config, stage_name)
    if averaged is not None:
        if stage_name == "autoencoder" and not decoder_only:
            networks.vae.set_normalization(to_device(fixed_batch(source, 64), accelerator.device)["photo"])
        save_model(averaged[1], config.model, output / "model")
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return output / "model"


def make_stage(networks: Networks, name: StageName, options: StageConfig) -> nn.Module:
    """The module that is trained."""
    if name == "autoencoder":
        return AutoencoderStage(networks, options)  # type: ignore[arg-type]
    return DiffusionStage(networks, options, with_face=name == "2")  # type: ignore[arg-type]


def load_networks(config: ModelConfig, init: Path | None) -> Networks:
    """New networks, with the weights of those that a folder has, each in a subfolder of its name.

    A diffusion network that starts from drafts without noise predicts zero before it is trained: what is predicted
    being noise, that returns the draft.

    Raises:
        InstaFaceError: none is there, or weights are not those of the config's networks.
    """
    networks = build(config)
    if config.noise == 0:
        for parameter in networks.unet.conv_out.parameters():
            torch.nn.init.zeros_(parameter)
    if init is None:
        return networks
    found_parts = {name: part for name, part in networks.modules().items() if (init / name / "config.json").is_file()}
    if not found_parts:
        raise InstaFaceError(f"--init {init}: no model in it, nor a part of one ({', '.join(networks.modules())})")
    for name, part in found_parts.items():
        found = type(part).from_pretrained(init / name)
        try:
            part.load_state_dict(found.state_dict())
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise InstaFaceError(f"--init {init / name} does not fit the config: {reason}") from error
    return networks


def save_model(networks: Networks, config: ModelConfig, folder: Path, **options: Any) -> None:
    """Writes the networks as a pipeline that :meth:`InstaFacePipeline.from_pretrained` reads."""
    as_pipeline(networks, config).save_pretrained(folder, **options)


def as_pipeline(networks: Networks, config: ModelConfig) -> InstaFacePipeline:
    """The networks with the settings that they are meant to be run with."""
    settings = {
        name: getattr(config, name) for name in ("size", "steps", "strength", "noise", "recogniser", "convention")
    }
    return InstaFacePipeline(**vars(networks), **settings)


def _cached(source: Source, networks: Networks, options: StageConfig, folder: Path, accelerator: Accelerator) -> Source:
    if not isinstance(source, Samples) or options.workers or getattr(options, "identity_weight", 0):
        raise InstaFaceError(
            "cache_latents needs samples of `instaface pairs`, workers 0 and no identity loss, which looks at pictures"
        )
    return CachedLatents(source, networks.vae, folder, accelerator.autocast)


def _accelerator(options: StageConfig, output: Path) -> Accelerator:
    accelerator = Accelerator(
        mixed_precision=options.mixed_precision,
        log_with="tensorboard",
        project_config=ProjectConfiguration(str(output), str(output / "logs")),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    share = options.micro_batch * accelerator.num_processes
    if options.batch % share:
        raise InstaFaceError(
            f"batch {options.batch} must be a multiple of micro_batch x processes = "
            f"{options.micro_batch} x {accelerator.num_processes}"
        )
    accelerator.gradient_accumulation_steps = options.batch // share
    return accelerator


def _prepare_folder(output: Path, resume: bool, accelerator: Accelerator) -> None:
    if resume:
        _last_checkpoint(output)
    elif (output / "checkpoints").exists():
        raise InstaFaceError(f"{output} holds a run already: go on with --resume, or choose another folder")
    accelerator.wait_for_everyone()
    output.mkdir(parents=True, exist_ok=True)


def _last_checkpoint(output: Path) -> Path:
    checkpoints = sorted((output / "checkpoints").glob("step-*"))
    if not checkpoints:
        raise InstaFaceError(f"--resume: no checkpoint in {output / 'checkpoints'}")
    return checkpoints[-1]


def _save_checkpoint(accelerator: Accelerator, output: Path, step: int, keep: int) -> None:
    """Writes to a temporary name first, so that a run that is killed leaves whole checkpoints only."""
    folder = output / "checkpoints" / f"step-{step:08d}"
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        for old in sorted(folder.parent.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _whole(
    accelerator: Accelerator, stage: nn.Module, networks: Networks, config: TrainingConfig, stage_name: StageName
) -> tuple[Any, Networks] | None:
    """Stage and networks with all their weights for the main process, None for the others.

    All processes have to ask: weights that are split over them are put together in a copy.
    """
    if not is_sharded(accelerator):
        return (accelerator.unwrap_model(stage), networks) if accelerator.is_main_process else None
    weights = accelerator.get_state_dict(stage)
    if not accelerator.is_main_process:
        return None
    networks = build(config.model)
    whole = make_stage(networks, stage_name, config.stage(stage_name))
    whole.load_state_dict(weights)
    return whole.to(accelerator.device), networks


def _validate(
    accelerator: Accelerator,
    stage: Any,
    networks: Networks,
    batch: Sample,
    sheet: int,
    model: ModelConfig,
    step: int,
) -> dict[str, float]:
    """Figures on the validation samples, and the sheet of validation edits; both to TensorBoard."""
    stage.eval()
    with accelerator.autocast():
        figures = stage.validate(batch)
        pictures = draw_sheet(networks, model, batch, sheet) if sheet else None
    accelerator.log({f"validation/{name}": value for name, value in figures.items()}, step=step)
    if pictures is not None:
        accelerator.get_tracker("tensorboard").log_images({"validation": pictures.numpy()}, step, dataformats="NCHW")
    stage.train()
    return figures


@torch.no_grad()
def draw_sheet(networks: Networks, model: ModelConfig, batch: Sample, count: int) -> torch.Tensor:
    """What the model makes of the first validation samples.

    Args:
        networks: the networks.
        model: how they are meant to be run.
        batch: samples of a stage.
        count: how many of them.

    Returns:
        (count, 3, S, 2 S) in 0..1, the result of the autoencoder beside the photo, or, where the samples have maps,
        (count, 3, S, 3 S): the source, the edit from the sample's draft (or from noise), the photo it should be.
    """
    photo = batch["photo"][:count]
    if "maps" not in batch:
        columns = [networks.vae(photo).sample.float(), photo]
    else:
        pipeline = as_pipeline(networks, model)
        pipeline.set_progress_bar_config(disable=True)
        given: dict[str, Any] = {"maps": {name: value[:count] for name, value in batch["maps"].items()}}
        given |= {name: batch[name][:count] for name in ("source", "draft", "region") if name in batch}
        seeds = [torch.Generator().manual_seed(k) for k in range(len(photo))]
        face = batch["face"][:count] if "face" in batch else None
        result, _ = pipeline(**given, face_embedding=face, generator=seeds, output_type="pt", return_dict=False)
        columns = [given["source"], result * 2 - 1, photo]
    return (torch.cat([c.float().cpu() for c in columns], -1).clamp(-1, 1) + 1) / 2


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=console, refresh_per_second=2)


def _device_maps(source: Source, device: torch.device) -> DeviceMaps | None:
    """What renders the maps that a source's samples lack; None where they lack none."""
    return DeviceMaps(source.face_model, device) if isinstance(source, Pairs) and source.device_maps else None


def _put(device: torch.device, maps: DeviceMaps | None, batch: Sample) -> Sample:
    """A batch on a device, with all its maps."""
    batch = to_device(batch, device)
    return batch if maps is None else maps(batch)


def to_device(batch: Any, device: torch.device) -> Any:
    """The tensors of nested dictionaries on a device."""
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch.to(device, non_blocking=True)
