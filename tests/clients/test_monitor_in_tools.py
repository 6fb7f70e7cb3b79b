"""The monitor in training tools: each recipe of its page with its library, or with a logger that has a library's calls."""

import pytest
import torch
from client import ONLY_OURS, batches, library, network, tokens
from recipes import watch

from kadam import StabilityMonitor

pytestmark = ONLY_OURS


def loss_function(model, batch):
    return model(batch).square().mean()


@pytest.fixture
def given():
    """What the recipes of plain loops take for granted."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return {"model": model, "optimizer": optimizer, "batches": batches(6), "loss_function": loss_function}


def measured(monitor):
    return [step for step, *_ in monitor.history]


def test_a_plain_loop_is_watched_and_its_checkpoint_goes_on(given, tmp_path):
    names = watch("Plain loop", path=tmp_path / "checkpoint", **given)
    assert measured(names["monitor"]) == [2, 4, 6]
    assert names["monitor"].measurement.names == [name for name, _ in given["model"].named_parameters()]
    saved = torch.load(tmp_path / "checkpoint", weights_only=True)
    optimizer = torch.optim.AdamW(given["model"].parameters())
    optimizer.load_state_dict(saved["optimizer"])
    monitor = StabilityMonitor(optimizer, every=2, named_parameters=given["model"])
    monitor.load_state_dict(saved["monitor"])
    for batch in batches(2):
        loss_function(given["model"], batch).backward()
        optimizer.step()
    assert measured(monitor) == [2, 4, 6, 8]


class Run:
    """Takes what wandb's runs take, and a summary writer's scalars."""

    def __init__(self):
        self.logs, self.scalars = [], []

    def log(self, values):
        assert all(type(name) is str and type(value) is float for name, value in values.items())
        self.logs.append(values)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))


def test_a_logger_takes_a_dictionary(given):
    run = Run()
    watch("A logger", run=run, **given)
    assert len(run.logs) == 6
    assert set(run.logs[0]) == {"loss"}
    assert {"loss", "stability/update_rms", "stability/update_rms/0.weight"} <= set(run.logs[-1])


def test_a_summary_writer_takes_scalars(given, tmp_path):
    writer = Run()
    watch("TensorBoard", writer=writer, **given)
    assert {step for name, _, step in writer.scalars if name == "stability/update_max"} == {1, 2, 3, 4, 5}


def test_the_trainer_hands_the_numbers_to_those_that_report(tmp_path):
    transformers = library("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    dataset = [{"input_ids": row, "labels": row} for row in tokens(32)]
    reported = []
    added = transformers.Trainer.__init__

    class Reports(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            reported.append(dict(logs))

    def init(self, *arguments, **options):
        added(self, *arguments, callbacks=[Reports()], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.Trainer, "__init__", init)
        names = watch("Transformers", model=model, folder=tmp_path / "run", dataset=dataset)
    assert measured(names["watch"].monitor) == [2, 4, 6]
    assert [logs["stability/update_rms"] for logs in reported[:3]] == [rms for _, rms, _ in names["watch"].monitor.history]
    assert names["watch"].monitor.measurement.names[0] == "transformer.wte.weight"


def test_lightning_logs_the_numbers():
    lightning = library("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def training_step(self, batch, i):
            return loss_function(self.network, batch)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    callback = watch("Lightning")["Watch"]()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(max_steps=6, callbacks=[callback], accelerator="cpu", **quiet)
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.cat(batches(6)), batch_size=2))
    assert measured(callback.monitor) == [2, 4, 6]
    logged = float(trainer.callback_metrics["stability/update_rms"])
    assert logged == pytest.approx(callback.monitor.history[-1][1])
    assert callback.monitor.measurement.names[0] == "network.0.weight"


def test_accelerate_saves_and_loads_the_monitor(given, tmp_path):
    accelerate = library("accelerate")
    try:
        loader = torch.utils.data.DataLoader(torch.cat(given.pop("batches")), batch_size=2)
        names = watch("Accelerate", loader=loader, folder=tmp_path / "state", **given)
        monitor = names["monitor"]
        assert monitor.optimizer is given["optimizer"]
        assert measured(monitor) == [2, 4, 6]
        monitor.measure()  # moves its counters nowhere
        monitor.history.clear()
        names["accelerator"].load_state(tmp_path / "state")
        assert measured(monitor) == [2, 4, 6]
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        accelerate.state.GradientState._reset_state()
