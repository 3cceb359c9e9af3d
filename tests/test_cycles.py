"""tools/cycles.py on loops whose cycles are known."""

from __future__ import annotations

from types import ModuleType

import pytest
from loading import ROOT, load

# Sixteen floats an iteration: one addition and one multiplication that depend on nothing.
CODE = (
    "vmovups (%rdi,%rax,4), %zmm0",
    "vaddps %zmm1, %zmm0, %zmm2",
    "vmulps %zmm1, %zmm0, %zmm3",
    "addq $0x10, %rax",
    "cmpq %rax, %rbx",
    "jne 0x10 <loop>",
)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load(ROOT / "tools" / "cycles.py")


def test_elements_of_an_iteration(tool: ModuleType) -> None:
    assert tool.elements_of(CODE, arm=False) == 16
    assert tool.elements_of(("ldr q0, [x1], #16", "add x2, x2, #0x10"), arm=True) == 4
    assert tool.elements_of(("ldr q0, [x1, x2, lsl #2]", "add x2, x2, #0x8"), arm=True) == 8


def test_names(tool: ModuleType) -> None:
    gelu = "void apply_vectors<float, float, 1, 1, void gelu_map<Form, float>(Task const&)::'lambda'>(Span)"
    assert tool.label_of(gelu) == "gelu_map"
    assert tool.label_of("void columns<false, 4, Tile<float>, float>(Tile<float> const&)") == "columns"
    assert tool.label_of("void layer_norm_forward<double>(Task const&)") is None


def test_cycles(tool: ModuleType) -> None:
    try:
        tool.program("llvm-mca")
    except FileNotFoundError as reason:
        pytest.skip(str(reason))
    loop = tool.Loop("family", "loop", "avx512", CODE, 16)
    assert loop.arithmetic == 2
    for processor in ("znver4", "icelake-server", "sapphirerapids"):
        needed = tool.cycles(loop, processor)
        assert needed is not None
        assert 0.9 <= needed <= 2.1
