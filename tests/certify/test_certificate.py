"""Whole certificates: all sections, every kind of equation, bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from deepinv.optim import L2
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import MRI, Denoising
from instances import FIELDS, IMAGE, PHYSICS, Instance, equilibrium, make_physics, normal, scalar

from equipoise.bounds import Kind
from equipoise.certify import Certificate, certify
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError, UsageError
from equipoise.regularizers import Tikhonov, build

ALWAYS = ["Constants", "Existence and uniqueness", "Solving", "Stability"]
EVERYTHING = [*ALWAYS, "A posteriori", "Lower bound", "Source condition"]


def titles(certificate: Certificate) -> list[str]:
    return [section.title for section in certificate.sections]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("physics", PHYSICS)
def test_every_kind_of_equation_has_one(physics: str, field: str) -> None:
    instance = Instance(physics, field, 1)
    found = certify(instance.equation, x=instance.truth, truth=instance.truth)
    assert titles(found) == EVERYTHING
    names = [statement.name for statement in found]
    assert len(set(names)) == len(names)
    json.dumps(found.records(), allow_nan=False)
    for statement in found:
        assert statement.title
        assert statement.words
        assert statement.assumes
        assert statement.source.startswith("theory")
        assert statement.holds == (statement.value is not None)
        assert bool(statement.advice) != statement.holds


def test_sections_follow_what_is_given() -> None:
    instance = Instance("blur", "contractive", 1)
    assert titles(certify(instance.equation)) == ALWAYS
    with_x = certify(instance.equation, x=instance.truth)
    assert titles(with_x) == EVERYTHING[:5]
    with_truth = certify(instance.equation, truth=instance.truth)
    assert titles(with_truth) == [*ALWAYS, *EVERYTHING[5:]]
    assert "BlurFFT and ContractiveResidual with alpha = 0.5" in with_x.subject
    assert "1 x 4 x 5" in with_x.subject


def test_numbers_hold_for_the_solved_equation() -> None:
    instance = Instance("blur", "contractive", 4)
    goal = equilibrium(instance.equation)
    near = goal + 1e-3 * normal(1, *IMAGE, seed=3)
    found = certify(instance.equation, x=near, truth=instance.truth)
    distance, error = float((near - goal).norm()), float((goal - instance.truth).norm())
    value = {statement.name: statement.value for statement in found}
    assert all(statement.kind is Kind.PROVED for statement in found.sections[4].statements)
    assert value["distance_lower"] <= distance <= value["distance_upper"]
    assert value["error_lower_bound"] <= error <= value["error_upper_bound"]


def test_noise_is_computed_where_none_is_given() -> None:
    instance = Instance("blur", "contractive", 4)
    size = float((instance.y - instance.clean).norm())
    computed = certify(instance.equation, truth=instance.truth)
    given = certify(instance.equation, truth=instance.truth, noise_norm=size)
    larger = certify(instance.equation, truth=instance.truth, noise_norm=2 * size)
    values = [c.find("error_upper_bound").value for c in (computed, given, larger)]  # type: ignore[union-attr]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert values[2] > values[1]


def test_batches_are_covered_by_their_worst_sample() -> None:
    physics, field = make_physics("denoise"), scalar(0.5)
    y, truth = normal(2, *IMAGE, seed=0), normal(2, *IMAGE, seed=1)
    alphas = torch.tensor([0.3, 2.0], dtype=torch.float64)
    both = certify(Equation(physics, y, field, alphas), x=y, truth=truth)
    assert "alpha from 0.3 to 2" in both.subject
    assert "2 samples" in both.subject
    single = [
        certify(Equation(physics, y[i : i + 1], field, a), x=y[i : i + 1], truth=truth[i : i + 1])
        for i, a in enumerate((0.3, 2.0))
    ]
    for name in ("stability_norm", "distance_upper", "gradient_factor", "source_norm"):
        values = [c.find(name).value for c in single]  # type: ignore[union-attr]
        assert both.find(name).value >= max(values) * (1 - 1e-9)  # type: ignore[union-attr]
    for name in ("strong_monotonicity", "error_floor", "error_lower_bound"):
        values = [c.find(name).value for c in single]  # type: ignore[union-attr]
        assert both.find(name).value <= min(values) * (1 + 1e-9)  # type: ignore[union-attr]


def test_same_seed_same_certificate() -> None:
    equation = Instance("wide", "network", 1).equation
    first, again, other = (certify(equation, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.find("symmetry_defect") != other.find("symmetry_defect")


def test_complex_measurements() -> None:
    mask = torch.ones(1, 2, 4, 4)
    mask[..., 1] = 0.0
    physics = MRI(mask=mask, img_size=(2, 4, 4)).double()
    truth = normal(1, 2, 4, 4, seed=0)
    found = certify(
        Equation(physics, physics.A(truth), Tikhonov(), 0.3), x=truth, truth=truth, probes=2
    )
    assert found.find("kernel_dimension").value == 8  # type: ignore[union-attr]
    assert found.find("uniqueness").kind is Kind.PROVED  # type: ignore[union-attr]


def test_weighted_data_is_certified_other_fidelities_are_refused() -> None:
    instance = Instance("blur", "contractive", 1)
    weighted = Equation(instance.physics, instance.y, instance.regularizer, 0.5, L2(sigma=0.2))
    plain = Equation(instance.physics, instance.y, instance.regularizer, 0.5 * 0.2**2)
    pairs = [certify(e, x=instance.truth) for e in (weighted, plain)]
    for name in ("stability_norm", "distance_upper", "operator_norm_upper"):
        values = [c.find(name).value for c in pairs]  # type: ignore[union-attr]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    counts = instance.y.abs() + 1.0
    poisson = Equation(
        instance.physics, counts, instance.regularizer, 0.5, PoissonLikelihood(gain=1.0)
    )
    with pytest.raises(HypothesisError, match="squared norm"):
        certify(poisson)


def test_bad_arguments() -> None:
    instance = Instance("blur", "contractive", 1)
    with pytest.raises(UsageError, match="give truth"):
        certify(instance.equation, noise_norm=0.1)
    with pytest.raises(UsageError, match="at least 2 probes"):
        certify(instance.equation, probes=1)
    with pytest.raises(InputError, match=r"x has shape .* the equation's images"):
        certify(instance.equation, x=normal(1, 1, 3, 3, seed=0))
    with pytest.raises(InputError, match=r"truth has shape .* the equation's images"):
        certify(instance.equation, truth=normal(1, 1, 3, 3, seed=0))
    with pytest.raises(InputError, match="noise_norm"):
        certify(instance.equation, truth=instance.truth, noise_norm=-1.0)


MEMORY = """
import torch
from deepinv.physics import BlurFFT
from equipoise.certify import certify
from equipoise.equation import Equation
from equipoise.regularizers import RidgeRegularizer

def peak():
    # ru_maxrss would begin at the size of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

torch.set_num_threads(1)
torch.manual_seed(0)
physics = BlurFFT((1, 512, 512), filter=torch.full((1, 1, 5, 5), 0.04))
truth = torch.rand(1, 1, 512, 512)
equation = Equation(physics, physics.A(truth), RidgeRegularizer(filters=(4, 8, 64)), 0.1)
before = peak()
certify(equation, x=truth, truth=truth, noise_norm=1.0)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_for_large_images_and_many_filters() -> None:
    """Less than 1000 MiB above the imports for 64 filters on 512 x 512 pixels."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=280, check=True
    )
    assert 0 < float(run.stdout) < 1000


def test_parts_are_told_in_order() -> None:
    told: list[tuple[str, int, int]] = []
    y = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    equation = Equation(Denoising(), y, build("tikhonov"), 1.0)
    found = certify(equation, x=y, truth=y, on_part=lambda *part: told.append(part))
    assert [done for _, done, _ in told] == list(range(len(found.sections)))
    assert {total for *_, total in told} == {len(found.sections)}
    assert told[-1][0] == "source condition"
