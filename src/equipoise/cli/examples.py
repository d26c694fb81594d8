"""The examples that help shows; tests run them or shortened forms of them."""

PROGRAM = """[bold]Examples[/bold]

  equipoise reconstruct noisy.png
  equipoise compare --task denoise
  equipoise train --task denoise --out tied.safetensors
  equipoise reconstruct noisy.png --weights tied.safetensors
  equipoise certify --weights tied.safetensors

Each command explains itself: equipoise compare --help
"""

COMPARE = """[bold]Examples[/bold]

  The main job on the embedded photographs, all three tasks:
  equipoise compare

  Your photographs, your noise, two minutes of training for each method:
  equipoise compare --task denoise --data photos --noise 0.05 \\
      --time-budget 120s

  Your blur kernel, two ways of learning the same regulariser:
  equipoise compare --task deblur --kernel gaussian:1.5 \\
      --methods tikhonov,bilevel,jacobian-free --regularizer tied-conv

  Tomography from 30 directions, which is not among the usual three tasks:
  equipoise compare --task tomography --angles 30 --crop 128

  Options from a file (task: inpaint, mask-fraction: 0.3, ...):
  equipoise compare --config comparison.yaml --out results/mine
"""

TRAIN = """[bold]Examples[/bold]

  The tied pair, bilevel, for denoising on the embedded photographs:
  equipoise train --regularizer tied-conv --task denoise \\
      --out tied.safetensors

  An untied field as a deep equilibrium model on your photographs:
  equipoise train --regularizer untied-conv --mode equilibrium --task deblur \\
      --kernel motion:9 --data photos --time-budget 10m \\
      --out untied.safetensors

  Interrupted? The same command goes on from untied.checkpoint.safetensors.
"""

RECONSTRUCT = """[bold]Examples[/bold]

  A noisy picture, with weights that ship:
  equipoise reconstruct noisy.png

  Measured images, with weights of yours and their problem:
  equipoise reconstruct noisy.png scan.tif --weights tied.safetensors

  Known pixels are white in a mask image:
  equipoise reconstruct holes.png --weights holes.safetensors --mask known.png

  Many images, continued after an interruption:
  equipoise reconstruct noisy.png scan.tif --weights tied.safetensors --resume

  Degrade a clean image first, restore it, and compare (PSNR):
  equipoise reconstruct clean.png --weights tied.safetensors --simulate
"""

MODELS = """[bold]Examples[/bold]

  All that ship, the card of one, and what its card says computed again:
  equipoise models
  equipoise models show crr-gray
  equipoise models verify crr-gray
"""

CERTIFY = """[bold]Examples[/bold]

  Learned weights, with the problem that they were trained for, as a page:
  equipoise certify --weights tied.safetensors --out results/certificate

  A regulariser as it is built, your own photograph as the truth:
  equipoise certify --regularizer contractive --task inpaint \\
      --mask-fraction 0.5 --truth photo.png

  For programs:
  equipoise certify --regularizer tikhonov --alpha 0.1 --size 128 --json
"""

STUDY = """[bold]Examples[/bold]

  How fast the error vanishes with the noise, beside the proved bounds:
  equipoise study rates

  The same for your model and the operator it was trained for:
  equipoise study rates --weights tied.safetensors --size 32

  Noise to 0 under rules for alpha that meet the hypotheses and rules
  that do not, with a network that has several equilibria:
  equipoise study convergence --physics inpaint,blur \\
      --regularizer contractive,network

  Parameter choice in limited-angle tomography:
  equipoise study alpha --physics limited-angle --regularizer tikhonov,crr
"""
