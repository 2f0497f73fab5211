"""The exported header: compiled by gcc as C and C++, its values read back by a program."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from arena.planning import plan_file
from planner.model import InstanceId
from planner.plan import Plan
from planner.report.c_header import c_header
from tests.hostile import hostile_plan
from tests.plans import street_corner

PRINTER = """\
#include "plan.h"
#include <stdio.h>
int main(void) {
    int i;
    for (i = 0; i < ARENA_INSTANCE_COUNT; i++) {
        const struct arena_instance *a = &arena_instances[i];
        printf("%s\\n%s\\n%s\\n%s\\n%llu %llu %llu %llu\\n", a->name, a->model, a->file, a->lane,
               (unsigned long long)a->work_offset, (unsigned long long)a->work_bytes,
               (unsigned long long)a->weight_offset, (unsigned long long)a->weight_bytes);
    }
    return 0;
}
"""
OUTSIDE = 2**64 - 1


@pytest.mark.parametrize("compiler", ["gcc -std=c11 -x c", "g++ -std=c++11 -x c++"])
@pytest.mark.parametrize("plan", [street_corner(), hostile_plan()], ids=["street", "hostile"])
def test_a_program_reads_the_plan_back(plan: Plan, compiler: str, tmp_path: Path) -> None:
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    (tmp_path / "plan.h").write_text(c_header(plan))
    (tmp_path / "main.c").write_text(PRINTER)
    program = tmp_path / "main"
    subprocess.run(
        [*command, "-Wall", "-Wextra", "-Werror", "-o", program, tmp_path / "main.c"], check=True
    )
    lines = subprocess.run([program], capture_output=True, check=True).stdout.decode().split("\n")
    files = {model.id: model.file for model in plan.fleet.models}
    expected = []
    for row in plan.instances:
        numbers = (row.work_offset, row.work_bytes, row.weight_offset, row.weight_bytes)
        shown = " ".join(str(OUTSIDE if value is None else value) for value in numbers)
        expected += [row.id, row.model, files[row.model], row.lane, shown]
    assert lines[:-1] == expected


def test_identifiers_that_meet_stay_distinct() -> None:
    plan = street_corner()
    rows = tuple(
        replace(row, id=InstanceId(name))
        for row, name in zip(plan.instances, ("a b", "a-b", "A+B", "work_bytes"), strict=False)
    )
    text = c_header(replace(plan, instances=rows))
    for name in ("ARENA_A_B = 0", "ARENA_A_B_1 = 1", "ARENA_A_B_2 = 2", "ARENA_WORK_BYTES_3 = 3"):
        assert name in text


ACL_H = """\
#include <stddef.h>
#include <stdint.h>
typedef int aclError;
typedef enum { ACL_MEM_MALLOC_HUGE_FIRST } aclrtMemMallocPolicy;
#define ACL_SUCCESS 0
extern "C" aclError aclrtMalloc(void **devPtr, size_t size, aclrtMemMallocPolicy policy);
extern "C" aclError aclmdlLoadFromFileWithMem(const char *modelPath, uint32_t *modelId,
                                              void *workPtr, size_t workSize,
                                              void *weightPtr, size_t weightSize);
"""
"""The prototypes that examples/run_plan.cpp calls, as the vendor documents them."""


def test_the_example_compiles_against_the_documented_prototypes(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed here")
    root = Path(__file__).parents[4]
    fleet = root / "docs" / "fleets" / "street-corner.yaml"
    (tmp_path / "plan.h").write_text(c_header(plan_file(fleet).plan))
    (tmp_path / "acl").mkdir()
    (tmp_path / "acl" / "acl.h").write_text(ACL_H)
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", str(tmp_path))
    for option in ("-UWITH_ACL", "-DWITH_ACL"):
        subprocess.run(["g++", *flags, option, root / "examples" / "run_plan.cpp"], check=True)
