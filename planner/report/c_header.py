"""A plan as a C header: sizes, offsets and names for programs that want only the pointers."""

from planner.codec import plan_digest
from planner.handover import BufferUse
from planner.plan import Instance, Plan

__all__ = ["c_header", "c_string"]

_IDENTIFIER_MAX = 48


def c_header(plan: Plan) -> str:
    """Return a header that C11 and C++11 compile; nothing in it needs a library.

    ``arena_instances[ARENA_<NAME>]`` is one instance: pass base + offset to load. An offset of
    ``ARENA_OUTSIDE`` means that the device manages the memory or that there is none.

    Notes
    -----
    Names stand in string literals alone, every byte that is not plain ASCII as an octal escape:
    no name can end a literal, start a trigraph or a comment.
    """
    files = {model.id: model.file for model in plan.fleet.models}
    names = _identifiers(plan)
    rows = ",\n".join(_row(row, files[row.model]) for row in plan.instances)
    indices = ",\n".join(f"    {name} = {index}" for index, name in enumerate(names))
    return f"""\
/* Arena plan {plan_digest(plan)}.
 * Made by `arena export --c-header`; do not edit. Bytes and byte offsets.
 * Executions must keep the order and the locks that the plan relies on. */
#ifndef ARENA_PLAN_H
#define ARENA_PLAN_H

#include <stdint.h>

#define ARENA_PLAN_DIGEST "{plan_digest(plan)}"
#define ARENA_WORK_BYTES UINT64_C({plan.height_bytes})
#define ARENA_WEIGHT_BYTES UINT64_C({plan.weight_bytes})
#define ARENA_PAGE_BYTES UINT64_C({plan.page_bytes})
#define ARENA_ALIGN_BYTES UINT64_C({plan.rule.align_bytes})
#define ARENA_OUTSIDE UINT64_MAX

struct arena_instance {{
    const char *name;
    const char *model;
    const char *file; /* as the plan names it; empty: declared sizes */
    const char *lane;
    uint64_t work_offset;
    uint64_t work_bytes;
    uint64_t weight_offset;
    uint64_t weight_bytes;
}};

enum arena_index {{
{indices},
    ARENA_INSTANCE_COUNT = {len(plan.instances)}
}};

static const struct arena_instance arena_instances[ARENA_INSTANCE_COUNT] = {{
{rows}
}};
{_buffers(plan)}
#endif
"""


def _buffers(plan: Plan) -> str:
    """Return the table of tensors that steps hand on; nothing where there is none."""
    if not plan.buffers:
        return ""
    rows = ",\n".join(
        f"    {{{c_string(row.name)}, {c_string(row.channel)}, {c_string(row.step)}, "
        f"{c_string(row.tensor)}, UINT64_C({row.slot}), {int(row.use is BufferUse.STATE)}, "
        f"UINT64_C({row.offset}), UINT64_C({row.size_bytes})}}"
        for row in plan.buffers
    )
    return f"""
struct arena_buffer {{
    const char *name;
    const char *channel;
    const char *step; /* that writes it */
    const char *tensor;
    uint64_t slot; /* frame t uses slot t mod d; a state reads and writes its two in turn */
    int is_state;
    uint64_t work_offset;
    uint64_t bytes;
}};

#define ARENA_BUFFER_COUNT {len(plan.buffers)}

static const struct arena_buffer arena_buffers[ARENA_BUFFER_COUNT] = {{
{rows}
}};
"""


def c_string(text: str) -> str:
    r"""Return a C string literal with the UTF-8 bytes of `text`.

    Examples
    --------
    >>> print(c_string('a"b'), c_string("??/é"))
    "a\042b" "\077\077/\303\251"
    """
    plain = {ord(char) for char in " !#$%&'()*+,-./:;<=>@[]^_`{|}~"}
    plain |= {byte for byte in range(128) if chr(byte).isalnum()}
    body = "".join(
        chr(byte) if byte in plain else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
    return f'"{body}"'


def _row(row: Instance, file: str) -> str:
    numbers = ", ".join(
        "ARENA_OUTSIDE" if value is None else f"UINT64_C({value})"
        for value in (row.work_offset, row.work_bytes, row.weight_offset, row.weight_bytes)
    )
    texts = ", ".join(c_string(text) for text in (row.id, row.model, file, row.lane))
    return f"    {{{texts}, {numbers}}}"


def _identifiers(plan: Plan) -> list[str]:
    """Return a distinct identifier for each instance; where names meet, its index is added."""
    taken = {"ARENA_INSTANCE_COUNT", "ARENA_OUTSIDE", "ARENA_PLAN_H", "ARENA_PLAN_DIGEST"}
    taken.add("ARENA_BUFFER_COUNT")
    taken |= {f"ARENA_{name}_BYTES" for name in ("WORK", "WEIGHT", "PAGE", "ALIGN")}
    names = []
    for index, row in enumerate(plan.instances):
        plain = "".join(
            char if char.isascii() and char.isalnum() else "_" for char in row.id[:_IDENTIFIER_MAX]
        )
        name = f"ARENA_{plain.upper()}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        names.append(name)
    return names
