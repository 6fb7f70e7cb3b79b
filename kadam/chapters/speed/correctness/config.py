"""Which of the optimizer's tests are run, where, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, check_choice, require

STEP = ("test_cuda", "test_gpu_steps")  # of the kernel itself, and of KAdam's way to it
OPTIMIZER = ("test_features", "test_in_use", "test_kadam", "test_update")  # of everything else that a step may meet
LOOPS = ("lab/test_replay",)  # of whole training steps, captured and replayed


@dataclass(frozen=True)
class Config(Checked):
    """What is tested; the defaults are the laptop profile: the kernel in Triton's interpreter."""

    files: tuple[str, ...] = STEP  # of tests/optim, where no other folder of tests is named
    words: str = "cpu"  # an expression over names, as pytest's -k takes it; all tests of the device where it is empty
    device: str = "cpu"
    processes: int = 2  # at most, where pytest-xdist is there
    seed: int = 0

    def check(self) -> None:
        check_choice("device", self.device, ("cpu", "cuda"))
        require(bool(self.files), f"files must hold at least one name, got {self.files!r}")


PROFILES = {
    "smoke": Config(files=("test_cuda",), words="cpu and (two_dtypes or nothing_to_do)", processes=1),
    "laptop": Config(),
    "paper": Config(files=(*STEP, *OPTIMIZER, *LOOPS), words="", device="cuda", processes=6),
}
