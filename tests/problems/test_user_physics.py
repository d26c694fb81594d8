"""Operators that a user names on the command line."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import AdjointError, InputError, UnknownNameError, UsageError
from equipoise.problems import from_physics, load_user_physics

SOURCE = """
import torch
from deepinv.physics import Denoising, Inpainting, LinearPhysics

def every_second_column(image_shape):
    mask = torch.ones(image_shape)
    mask[..., ::2] = 0
    return Inpainting(img_size=image_shape, mask=mask)

def plain():
    return Denoising()

def keyword(*, image_shape=None):
    assert image_shape is None
    return Denoising()

def fails(image_shape):
    raise RuntimeError("no such scanner")

def not_a_physics(image_shape):
    return torch.nn.Identity()

class Wrong(LinearPhysics):
    def A(self, x, **kwargs):
        return x.roll(1, -1)

    def A_adjoint(self, y, **kwargs):
        return y.roll(1, -1)

def wrong():
    return Wrong()

number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_operators.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("by_module", [False, True])
def test_a_function_of_the_shape_poses_the_problem_for_any_shape(file, by_module, monkeypatch):
    monkeypatch.chdir(file.parent)
    source = "my_operators" if by_module else str(file)
    problem = from_physics(load_user_physics(f"{source}:every_second_column"), (1, 6, 8))
    x = torch.ones(1, 1, 6, 8)
    assert float(problem.physics.A(x).sum()) == 24
    assert float(problem.for_shape((3, 4, 4)).physics.A(torch.ones(1, 3, 4, 4)).sum()) == 24


@pytest.mark.parametrize("name", ["plain", "keyword"])
def test_a_function_without_arguments_is_called_so(file, name):
    physics = load_user_physics(f"{file}:{name}")((1, 4, 4))
    x = torch.ones(1, 1, 4, 4)
    assert torch.equal(physics.A(x), x)


def test_a_wrong_adjoint_is_refused_before_use(file):
    with pytest.raises(AdjointError, match="Wrong is not the adjoint"):
        from_physics(load_user_physics(f"{file}:wrong"), (1, 8, 8))


def test_errors_of_the_function_are_told(file):
    with pytest.raises(InputError, match="RuntimeError: no such scanner"):
        load_user_physics(f"{file}:fails")((1, 4, 4))
    with pytest.raises(UsageError, match="it returned Identity"):
        load_user_physics(f"{file}:not_a_physics")((1, 4, 4))


def test_misspelt_functions_get_the_nearest_name(file):
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        load_user_physics(f"{file}:plan")
    with pytest.raises(UnknownNameError, match="number"):
        load_user_physics(f"{file}:number")


@pytest.mark.parametrize("reference", ["", "module", "module:", ":function", "m:not a name"])
def test_unreadable_references_are_refused(reference):
    with pytest.raises(UsageError, match="write module:function"):
        load_user_physics(reference)


def test_modules_that_cannot_be_imported_are_refused(tmp_path):
    with pytest.raises(InputError, match="Cannot import the module 'no_such_module_here'"):
        load_user_physics("no_such_module_here:f")
    with pytest.raises(InputError, match="no Python file"):
        load_user_physics(f"{tmp_path}/missing.py:f")
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(InputError, match="SyntaxError"):
        load_user_physics(f"{tmp_path}/broken.py:f")
