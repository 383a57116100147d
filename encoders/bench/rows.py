"""One line of the bench, and what it was measured on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Device, its measured bf16 matrix-multiply rate (FLOP/s; None on "meta"), and versions."""

    device: str
    name: str
    torch: str
    threads: int
    matmul_rate: float | None
    compiled: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A method at a size and frame count, for one video of a training step in bf16, vision tower only.

    `activation_bytes` are what autograd keeps for the backward pass, each storage once, parameters
    left out. Parameters that train cost 2 bytes of weight and 2 of gradient in bf16, and 12 in
    fp32 for a master copy and Adam's two moments; frozen ones 2. `peak_bytes` is CUDA's own
    highest allocation over a real step. FLOPs count a multiply-add as two.
    `forward_seconds` is one forward of `forward_batch` unmasked videos without gradients.
    """

    size: str
    method: str
    frames: int
    mask: float
    tokens: int
    parameters: int
    trainable: int
    forward_flops: int
    train_flops: int
    activation_bytes: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    dense_flops: int
    forward_batch: int | None = None
    forward_seconds: float | None = None
    step_seconds: float | None = None
    peak_bytes: int | None = None
    note: str = ""

    @property
    def total_bytes(self) -> int:
        """Training memory by count: weights, gradients, optimiser state and activations."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes

    @property
    def videos_per_second(self) -> float | None:
        """Forward throughput without masking."""
        if self.forward_seconds is None or self.forward_batch is None:
            return None
        return self.forward_batch / self.forward_seconds

    def matmul_share(self, machine: Machine) -> float | None:
        """Forward FLOP/s as a share of the measured matrix-multiply rate."""
        if self.videos_per_second is None or machine.matmul_rate is None:
            return None
        return self.videos_per_second * self.dense_flops / machine.matmul_rate


@dataclass(frozen=True, slots=True)
class Report:
    """A machine, its rows, and the methods left out for want of a library."""

    machine: Machine
    rows: tuple[Row, ...]
    skipped: tuple[str, ...] = ()
