"""PyTorch modules, read by both of PyTorch's exporters. Skipped where PyTorch is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc.errors import InputError, ModelError
from libmpc.graph import nodes
from libmpc.graph.floating import run_float
from libmpc.graph.torch import export as exporters
from libmpc.graph.torch import is_module, read_torch

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
nn = torch.nn
functional = nn.functional

BOTH = ("dynamo", "torchscript")


@pytest.fixture(params=BOTH)
def exporter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """PyTorch's newer exporter, where onnxscript is installed, and its older one."""
    name: str = request.param
    if name == "dynamo":
        pytest.importorskip("onnxscript")
    else:
        missing: Callable[[str], None] = lambda _: None  # noqa: E731
        monkeypatch.setattr(exporters, "find_spec", missing)
    return name


class Residual(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """Batch norm, a skip connection, max pooling, a depthwise convolution, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(x + self.conv2(x))
        x = self.pool(x).mean((2, 3))
        return self.fc(self.dropout(x))


def trained(module: Any, *shape: int) -> Any:
    """With statistics in its batch norms that are not 0 and 1."""
    torch.manual_seed(1)
    module.train()
    for _ in range(3):
        module(torch.rand(4, *shape) * 2 - 0.5)
    return module


def compare(module: Any, example: Any, tolerance: float = 1e-4) -> nodes.Graph:
    graph = read_torch(module, example)
    x = torch.rand(3, *example.shape[1:])
    module.eval()
    with torch.no_grad():
        expected = np.concatenate([module(one[None]).numpy() for one in x])
    got = run_float(graph, x.double().numpy())
    assert np.allclose(got.ravel(), expected.ravel(), rtol=0, atol=tolerance)
    return graph


def test_a_network(exporter: str) -> None:
    graph = compare(trained(Residual(), 3, 9, 9), torch.zeros(2, 3, 9, 9))
    assert graph.shapes[graph.nodes[0].name] == (3, 9, 9)
    found = {n.name.partition(":")[0] for n in graph.nodes if isinstance(n, nodes.Conv)}
    assert found & {"conv2", "/conv2/Conv"}  # the other one may be called after its batch norm
    assert found <= {"conv1", "bn1", "conv2", "/conv1/Conv", "/conv2/Conv"}


def test_the_module_stays_as_it_was(exporter: str) -> None:
    module = trained(Residual(), 3, 9, 9)
    module.bn1.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    read_torch(module, np.zeros((1, 3, 9, 9)))
    assert [part.training for part in (module, module.conv1, module.bn1, module.dropout)] == [
        True,
        True,
        False,
        True,
    ]
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_one_dimensional_convolutions_and_moves(exporter: str) -> None:
    class Net(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 6, 3, stride=2)
            self.act = nn.LeakyReLU(0.25)

        def forward(self, x: Any) -> Any:
            a, b = self.act(self.conv(x)).chunk(2, dim=1)
            return torch.cat((b * a, functional.relu6(a)), dim=2).transpose(1, 2)

    compare(Net(), torch.zeros(1, 4, 13))


def test_load_model_and_answer_on_shares() -> None:
    module = trained(Residual(), 3, 9, 9)
    model = libmpc.load_model(module, torch.zeros(1, 3, 9, 9), input_range=(0, 1))
    assert (model.name, model.input_shape, model.output_shape) == ("Residual", (3, 9, 9), (5,))
    x = np.random.default_rng(2).uniform(0, 1, (3, 3, 9, 9))
    answer = libmpc.Simulation(model).query(x)
    assert np.array_equal(answer, model.reference(x))
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x).float()).numpy()
    assert np.allclose(answer, expected, rtol=0, atol=5e-3)
    assert model.plan.digest == libmpc.load_model(module, x).plan.digest  # range: the example's


def test_a_softmax_at_the_end_is_left_to_the_client(exporter: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Softmax(dim=1))
    graph = read_torch(module, torch.rand(1, 2, 3))
    last = graph.nodes[-1]
    assert isinstance(last, nodes.Final)
    assert last.kind == "softmax"


def test_double_precision_and_an_example_as_a_list(exporter: str) -> None:
    module = nn.Sequential(nn.Linear(3, 2)).double()
    graph = read_torch(module, [[1, 2, 3]])
    got = run_float(graph, np.ones((1, 3)))
    assert np.allclose(got, module(torch.ones(1, 3).double()).detach().numpy(), atol=1e-12)


def test_it_decides_by_values(exporter: str) -> None:
    class Net(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, x: Any) -> Any:
            return x * 2 if x.sum() > 0 else x * 3

    with pytest.raises(ModelError, match="decides by values, or draws random numbers"):
        read_torch(Net(), torch.ones(1, 4))


def test_it_draws_random_numbers(exporter: str) -> None:
    class Net(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, x: Any) -> Any:
            return x + torch.rand(4)

    with pytest.raises(ModelError):
        read_torch(Net(), torch.ones(1, 4))


def test_what_onnx_does_not_have(exporter: str) -> None:
    class Net(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, x: Any) -> Any:
            return torch.special.i1(x)

    with pytest.raises(ModelError, match=r"PyTorch cannot export the module to ONNX: .*Try torch"):
        read_torch(Net(), torch.ones(1, 4))


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ((torch.zeros(1, 3), torch.zeros(1, 3)), "one array or tensor"),
        ("a picture", "one array or tensor"),
        (torch.zeros(3), "first axis counts samples"),
        (torch.zeros(0, 3), "first axis counts samples"),
    ],
)
def test_wrong_examples(example: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_torch(nn.Linear(3, 2), example)


def test_wrong_modules() -> None:
    with pytest.raises(ModelError, match="does not run on example_input of shape"):
        read_torch(nn.Linear(3, 2), torch.zeros(1, 4))
    with pytest.raises(ModelError, match=r"a torch\.nn\.Module is needed, not dict"):
        read_torch({}, torch.zeros(1, 4))

    class Two(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, x: Any) -> Any:
            return x, x

    with pytest.raises(ModelError, match="returns tuple; wrap it"):
        read_torch(Two(), torch.zeros(1, 4))
    diverged = nn.Linear(3, 2)
    with torch.no_grad():
        diverged.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"NaN"):
        read_torch(diverged, torch.ones(1, 3))


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    from libmpc.graph.torch import importer

    missing: Callable[[str], None] = lambda _: None  # noqa: E731
    monkeypatch.setattr(importer, "find_spec", missing)
    with pytest.raises(ModelError, match=r"pip install 'libmpc\[torch\]'"):
        read_torch(nn.Linear(3, 2), torch.zeros(1, 3))


def test_is_module() -> None:
    assert is_module(nn.Linear(3, 2))
    assert not is_module("model.onnx")
    assert not is_module(nn.Linear)
