"""What the kernels of cells take of a GPU, without one: compiled for a target, and asked how many registers they use.

    pip install triton
    python docs/benchmarks/kernel_resources.py --models gru,lstm --hiddens 32,128,256 --target 90

For each form in which a layer could be computed (`ablate.engines.cohort.cuda`): registers of a thread, bytes of it that
wait in memory for a register ("stack"), bytes of shared memory of a program, and whether it is the form that would be
taken on a device of that kind as far as this decides. Nothing is run, and nothing here says how fast a kernel is.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource

from ablate.cells.cell import variant_of
from ablate.cells.derivative import derived
from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.engines.cohort.cuda.build import kernels
from ablate.engines.cohort.cuda.choice import SHARED_BYTES, candidates, most_spills

TOOLS = Path(nvidia.__file__).parent / "bin"
INTEGERS = ("t", "T", "B")


def resources(kernel, function, tile, H, precision, target):
    """(registers, bytes of stack, bytes of shared memory) of one kernel."""
    constants = {"H": H, "HP": tile.HP, "BB": tile.BB, "BK": tile.BK, "PRECISION": precision, "DT": tl.float32}
    kinds, divisible = {}, {}
    for place, name in enumerate(function.arg_names):
        strides = name.endswith(("_replica", "_row"))
        kinds[name] = "constexpr" if name in constants else "i32" if name in INTEGERS or strides else "*fp32"
        if kinds[name] == "*fp32" or strides:
            divisible[(place,)] = [["tt.divisibility", 16]]
    values = {(function.arg_names.index(name),): value for name, value in constants.items()}
    made = triton.compile(
        ASTSource(function, kinds, values, divisible),
        target=GPUTarget("cuda", target, 32),
        options={"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [TOOLS / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", told.stdout)
    assert found, told.stdout
    return int(found[1]), int(found[2]), made.metadata.shared


def table(model, H, B, sequences, precision, target):
    config = resolve(compose([f"model={model}", f"num_hiddens={H}"]))
    d = derived(variant_of(config).structure, "state", True, config.bias_vectors)
    taken = False
    tried = list(candidates(d, sequences, B, H, precision))
    for form, tile in tried:
        made = kernels(d, form, True)
        rows = []
        for kernel in (*made.forward, *made.backward):
            registers, stack, shared = resources(kernel, made.functions[kernel.name], tile, H, precision, target)
            rows.append((f"{kernel.name} {registers} registers, stack {stack}, shared {shared}", stack, shared))
        most = 4 * most_spills(form, tile, tried, precision)
        fits = form == "stages" or all(stack <= most and shared <= SHARED_BYTES for _, stack, shared in rows)
        mark = "taken" if fits and not taken else "fits" if fits else "does not fit"
        taken = taken or fits
        print(
            f"{model} {H} {precision} {form} {tile.BB}×{tile.HP}: {'; '.join(row for row, *_ in rows)}: {mark}",
            flush=True,
        )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", default="rnn,gru,lstm,mgu,mingru,minlstm")
    options.add_argument("--hiddens", default="32,64,128,256,512")
    options.add_argument("--precisions", default="ieee,tf32")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--sequences", type=int, default=32, help="of a tile; 8 with ieee alone (default: 32)")
    options.add_argument("--target", type=int, default=90, help="compute capability (default: 90, an H100 or H200)")
    given = options.parse_args()
    for model in given.models.split(","):
        for H in given.hiddens.split(","):
            for precision in given.precisions.split(","):
                table(model, int(H), given.batch, given.sequences, precision, given.target)
