"""Draw the figures of ``docs/certificates.md``: measurements beside what was certified beforehand.

Run: python docs/make_certificate_figures.py [FOLDER]. Everything is computed in float64 on images
of 16 x 16 pixels, so that Jacobians fit into a dense matrix; it takes half a minute of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from equipoise.certify import Certificate, certify
from equipoise.equation import Equation
from equipoise.images import read_image
from equipoise.problems import Problem, deblur, denoise, inpaint
from equipoise.problems.datasplit import centre_crop
from equipoise.problems.photographs import half_size, photograph_file
from equipoise.regularizers import Regularizer, build
from equipoise.solve import FixedPoint, solve

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"
SIDE = 16
SHAPE = (1, SIDE, SIDE)
#: Colours of Okabe and Ito with a marker each, so that colour is never needed.
BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#111111"
LOOKS = ((BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."))
WIDTH, HEIGHT, DENSITY = 4.6, 3.0, 200

END: dict[str, Any] = {"marker": "|", "markersize": 14, "markeredgewidth": 2.5, "linestyle": "none"}
PROVED_END, ESTIMATED_END = {**END, "color": BLUE}, {**END, "color": ORANGE}
POINT: dict[str, Any] = {
    "marker": "o", "markersize": 3.5, "fillstyle": "none", "color": BLACK, "linestyle": "none",
}  # fmt: skip

Draw = Callable[[Axes], None]


def photograph(file: str = "camera.png") -> Tensor:
    """A photograph in float64, halved until its details fit the small crop; shape (1, 1, H, W)."""
    image = read_image(photograph_file(file)).pixels.double()
    for _ in range(4):
        image = half_size(image)
    return centre_crop(image, SIDE)[None]


def field(name: str, seed: int = 0, **arguments: object) -> Regularizer:
    """A regulariser in float64 with random weights of a fixed seed."""
    torch.manual_seed(seed)
    return build(name, **arguments).double()


def contractive(contraction: float = 0.9) -> Regularizer:
    return field("contractive", width=8, depth=2, contraction=contraction)


def problem(task: str, sigma: float = 0.0) -> Problem:
    """The task on the small image."""
    if task == "inpaint":
        return inpaint(SHAPE, 0.5, sigma=sigma, dtype=torch.float64)
    if task == "deblur":
        return deblur(SHAPE, "gaussian:0.6", sigma=sigma, dtype=torch.float64)
    return denoise(SHAPE, sigma=sigma, dtype=torch.float64)


def exact(equation: Equation) -> Tensor:
    """The equilibrium, as exactly as float64 allows."""
    return solve(equation, equation.adjoint_data, tolerance=1e-12, max_evaluations=20_000).x


def jacobian(regularizer: Regularizer, x: Tensor) -> Tensor:
    """Dense Jacobian of R at x (1, C, H, W), shape (n, n): one batch of all unit images."""
    count = x.numel()
    basis = torch.eye(count, dtype=x.dtype).reshape(count, *x.shape[1:])
    with torch.no_grad():
        near = regularizer.linearize(x.expand(count, *x.shape[1:]))
        return near.jvp(basis).flatten(1).T


def dense(physics_map: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Dense matrix of a linear map of images (1, C, H, W)."""
    count = like.numel()
    basis = torch.eye(count, dtype=like.dtype).reshape(count, *like.shape[1:])
    return physics_map(basis).flatten(1).T


def value(certificate: Certificate, name: str) -> float:
    """The number of a statement that must hold."""
    found = certificate.find(name)
    if found is None or found.value is None:
        raise LookupError(f"{name} is not certified: {found}")
    return found.value


def constants(axes: Axes) -> None:
    """Lipschitz constants between their ends, with dense Jacobians at photographs."""
    names = ("contractive", "tied-conv", "crr", "untied-conv", "fields-of-experts")
    images = [photograph(file) for file in ("camera.png", "coins.png", "chelsea.png")]
    images += [torch.rand(images[0].shape, generator=seeded(0)).double()]
    images.append(torch.zeros_like(images[0]))
    task = problem("denoise")
    for row, name in enumerate(names):
        regularizer = contractive() if name == "contractive" else field(name)
        equation = Equation(task.physics, task.physics.A(images[0]), regularizer, 1.0)
        found = certify(equation, x=images[0])
        low, high = value(found, "lipschitz_lower"), value(found, "lipschitz_upper")
        sizes = [float(torch.linalg.matrix_norm(jacobian(regularizer, x), 2)) for x in images]
        axes.plot([low / high, 1.0], [row, row], color="#999999", linewidth=2.0, zorder=1)
        axes.plot([1.0], [row], **PROVED_END)
        axes.plot([low / high], [row], **ESTIMATED_END)
        shown = [size / high for size in sizes]
        axes.plot(shown, [row] * len(shown), **POINT)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0.0, 1.05)
    axes.set_xlabel("relative to the PROVED upper end")
    axes.get_figure().legend(
        [Line2D([], [], **look) for look in (PROVED_END, ESTIMATED_END, POINT)],
        ["PROVED, from above", "ESTIMATED, from below", "at one of 5 images"],
        loc="outside upper center", ncols=3, fontsize=7, handletextpad=0.1, columnspacing=0.8,
    )  # fmt: skip


def uniqueness(axes: Axes) -> None:
    """The modulus m against alpha."""
    alphas = torch.logspace(-1, 2, 40).tolist()
    untied = untied_pair()
    cases = (
        ("contractive, inpainting", contractive(), "inpaint"),
        ("untied pair, denoising", untied, "denoise"),
        ("untied pair, inpainting", untied, "inpaint"),
    )
    for (label, regularizer, task), (colour, _, line) in zip(cases, LOOKS, strict=True):
        physics = problem(task).physics
        y = physics.A(photograph())
        moduli = [Equation(physics, y, regularizer, alpha).modulus for alpha in alphas]
        values = [float("nan") if m is None else m.value for m in moduli]
        axes.plot(alphas, values, color=colour, linestyle=line, label=label)
    axes.axhline(0.0, color=BLACK, linewidth=1.0)
    axes.annotate("one solution is PROVED above 0", (0.11, 1.4), fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(-1.0, 1.6)
    axes.set_xlabel("alpha")
    axes.set_ylabel("modulus m")
    axes.legend(loc="lower left")


def steps(axes: Axes) -> None:
    """Distance to the equilibrium while the certified iterations run."""
    truth, task = photograph(), problem("inpaint", 0.05)
    y = task.measure(truth, seeded(0))
    for (label, q), (colour, _, line) in zip(
        (("q = 0.9", 0.9), ("q = 0.5", 0.5)), LOOKS, strict=False
    ):
        equation = Equation(task.physics, y, contractive(q), 1.0)
        found = certify(equation)
        x_exact, x = exact(equation), equation.adjoint_data
        tau, kappa = value(found, "gradient_step"), value(found, "gradient_factor")
        first = float((x - x_exact).norm())
        distances = []
        for _ in range(61):
            distances.append(float((x - x_exact).norm()) / first)
            x = x - tau * equation.residual(x)
        axes.semilogy(range(61), [kappa**k for k in range(61)], color=colour, linestyle=line,
                      linewidth=0.9, label=f"{label}: certified")  # fmt: skip
        axes.semilogy(range(61), distances, color=colour, linestyle="none", marker="o",
                      markersize=2.5, label=f"{label}: measured")  # fmt: skip
    axes.set_xlabel("fixed-point steps")
    axes.set_ylabel("distance to the equilibrium,\nrelative to the first")
    axes.set_ylim(1e-12, 2.0)
    axes.legend(loc="lower left", fontsize=7.5)


def stability(axes: Axes) -> None:
    """Worst amplification of a small change of the data, from dense matrices, and the constant."""
    truth = photograph()
    alphas = torch.logspace(-2, 1, 13).tolist()
    for (label, name), (colour, marker, line) in zip(
        (("inpainting", "inpaint"), ("blur", "deblur")), LOOKS, strict=False
    ):
        task, regularizer = problem(name, 0.05), contractive()
        y = task.measure(truth, seeded(0))
        matrix = dense(task.physics.A, truth)
        certified, measured = [], []
        for alpha in alphas:
            equation = Equation(task.physics, y, regularizer, alpha)
            certified.append(value(certify(equation), "stability_norm"))
            slope = matrix.T @ matrix + alpha * jacobian(regularizer, exact(equation))
            response = torch.linalg.solve(slope, matrix.T)
            measured.append(float(torch.linalg.matrix_norm(response, 2)))
        axes.loglog(alphas, certified, color=colour, linestyle=line, label=f"{label}: certified")
        axes.loglog(alphas, measured, color=colour, linestyle="none", marker=marker, markersize=4,
                    label=f"{label}: worst direction")  # fmt: skip
    axes.set_xlabel("alpha")
    axes.set_ylabel("change of x / change of y")
    axes.legend(loc="upper right", fontsize=7.5)


def a_posteriori(axes: Axes) -> None:
    """True distance to the equilibrium between its proved bounds while a solver runs."""
    truth, task = photograph(), problem("deblur", 0.05)
    equation = Equation(task.physics, task.measure(truth, seeded(0)), contractive(), 0.3)
    x_exact = exact(equation)
    rows: list[tuple[int, float, float, float]] = []
    for count in range(1, 26, 2):
        x = solve(
            equation, equation.adjoint_data, FixedPoint(), tolerance=1e-13, max_evaluations=count
        ).x
        found = certify(equation, x=x)
        rows.append((
            count,
            value(found, "distance_lower"),
            float((x - x_exact).norm()),
            value(found, "distance_upper"),
        ))  # fmt: skip
    counts, low, true, high = zip(*rows, strict=True)
    axes.semilogy(counts, high, color=BLUE, label="PROVED: at most")
    axes.semilogy(counts, true, "o", color=BLACK, markersize=4, label="true distance")
    axes.semilogy(counts, low, color=ORANGE, linestyle="--", label="PROVED: at least")
    axes.set_xlabel("evaluations of the equation")
    axes.set_ylabel("distance to the equilibrium")
    axes.legend()


def rates(axes: Axes) -> None:
    """Error as the noise vanishes, alpha proportional to it, below the certified bound."""
    truth, task, regularizer = photograph(), problem("deblur"), contractive()
    clean = task.physics.A(truth)
    noise = torch.randn(clean.shape, generator=seeded(0), dtype=torch.float64)
    noise = noise / noise.norm()
    deltas = torch.logspace(1, -4, 16).tolist()
    measured, certified = [], []
    for delta in deltas:
        equation = Equation(task.physics, clean + delta * noise, regularizer, 0.1 * delta)
        x = exact(equation)
        found = certify(equation, x=x, truth=truth, noise_norm=delta)
        measured.append(float((x - truth).norm()))
        certified.append(value(found, "error_upper_bound"))
    axes.loglog(deltas, certified, color=BLUE, label="certified: at most")
    axes.loglog(deltas, measured, "o", color=BLACK, markersize=4, label="measured error")
    axes.set_xlabel("norm of the noise; alpha = 0.1 times that")
    axes.set_ylabel("error")
    axes.legend()


def lower_bound(axes: Axes) -> None:
    """Error without noise for every alpha, above the floor."""
    truth, task = photograph(), problem("inpaint")
    y = task.physics.A(truth)
    alphas = torch.logspace(-3, 1, 13).tolist()
    for (label, regularizer), (colour, marker, line) in zip(
        (("Tikhonov", field("tikhonov")), ("contractive", contractive())), LOOKS, strict=False
    ):
        errors, floors = [], []
        for alpha in alphas:
            equation = Equation(task.physics, y, regularizer, alpha)
            errors.append(float((exact(equation) - truth).norm()))
            floors.append(value(certify(equation, truth=truth, noise_norm=0.0), "error_floor"))
        axes.semilogx(alphas, floors, color=colour, linestyle=line, label=f"{label}: floor")
        axes.semilogx(alphas, errors, color=colour, linestyle="none", marker=marker, markersize=4,
                      label=f"{label}: error")  # fmt: skip
    axes.set_ylim(0.0, 1.25 * max(errors))
    axes.set_xlabel("alpha")
    axes.set_ylabel("error without noise")
    axes.legend(fontsize=7.5, ncols=2, loc="upper left")


def untied_pair() -> Regularizer:
    """An untied pair whose two sides differ enough for a visibly negative modulus."""
    regularizer = field("untied-conv", filters=6, kernel_size=3)
    with torch.no_grad():
        for parameter in regularizer.difference.parameters():  # type: ignore[union-attr]
            noise = torch.randn(parameter.shape, generator=seeded(0), dtype=torch.float64)
            parameter.copy_(0.3 * noise)
    return regularizer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


FIGURES: dict[str, Draw] = {
    "constants": constants,
    "uniqueness": uniqueness,
    "steps": steps,
    "stability": stability,
    "a-posteriori": a_posteriori,
    "rates": rates,
    "lower-bound": lower_bound,
}


def main(folder: Path, names: list[str]) -> None:
    """Draw each figure into ``certificates-NAME.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"font.family": "DejaVu Sans", "font.size": 9, "legend.frameon": False}
    for name in names or FIGURES:
        with rc_context(settings):
            figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DENSITY, layout="constrained")
            axes = figure.subplots()
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            FIGURES[name](axes)
            FigureCanvasAgg(figure).print_png(folder / f"certificates-{name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", choices=FIGURES, default=[], help="some figures")
    chosen = parser.parse_args()
    main(chosen.folder, chosen.only)
