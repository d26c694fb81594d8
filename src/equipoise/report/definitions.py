"""What the numbers of the page mean, as a list at its end."""

from __future__ import annotations

from equipoise.report.markup import escape

_MEANINGS = {
    "PSNR": (
        "10 log10(1 / mean squared error) in dB: range 1, no clipping, no quantisation. Means are"
        " means of the photographs' PSNR values."
    ),
    "SSIM": (
        "Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004) with data range 1;"
        " 1 is equality."
    ),
    "n and intervals": (
        "n is the number of test photographs. Intervals are 95 % percentile bootstrap intervals"
        " of the mean over photographs (10,000 resamples, fixed seed). Differences of methods are"
        " paired: taken photograph by photograph before resampling. The interval says how much"
        " the choice of photographs matters; it does not cover other noise or training seeds."
        " With few photographs it tends to be too narrow."
    ),
    "Shown": (
        "A difference is called shown if its paired interval avoids 0 and no training seed gives"
        " it another sign. No correction for several comparisons is made."
    ),
    "Converged": (
        "The relative residual of the equation is below the tolerance. Every sample is judged by"
        " itself."
    ),
    "Evaluations": (
        "Forward: evaluations of the field in the solve of one photograph, on average. Adjoint:"
        " Jacobian products per backward solve in training, on average."
    ),
    "Symmetry defect": (
        "‖J − Jᵀ‖ / ‖J‖ in the Frobenius norm for the Jacobian J of the learned field, estimated"
        " with random probes; ± is the standard error of the probes. 0: the field is a gradient"
        " there; 2: J is skew. Half of it is the relative distance to the symmetric matrices."
    ),
    "What can be certified": (
        "PROVED holds for every input of every size; ESTIMATED was measured and is no bound."
        " equipoise certify prints all statements with their hypotheses."
    ),
    "Certified constants": (
        "The modulus m is positive only where exactly one solution is known to exist. The Lipschitz"
        " constant of R lies between its two numbers. Stability: ‖x₁ − x₂‖ and ‖A(x₁ − x₂)‖ are at"
        " most these multiples of ‖y₁ − y₂‖, for any two data. The distance is that of the restored"
        " photograph to the exact solution of its equation."
    ),
    "Certified PSNR": (
        "At a solution, R has no component in the kernel of A. Where R of the truth has one, no α,"
        " no noise level and no solver reach the truth: the PSNR is at most that number even"
        " without noise. With this noise and this α the limit may be lower, and the bound on the"
        " error guarantees a least PSNR, true and often very low. All three need the truth, so"
        " they are statements about R and not about unknown images."
    ),
    "Seconds": (
        "Wall-clock times of single runs on the machine named below; their spread is not measured."
    ),
}

_ITEMS = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in _MEANINGS.items())

#: The section of the page.
DEFINITIONS = f'<section id="definitions"><h2>Definitions</h2><dl>{_ITEMS}</dl></section>'
