"""The protobuf walker against Google's protobuf, on damaged task lists.

Where we find a work size, protobuf finds the same; where protobuf refuses, we refuse. The other
way round we refuse more, by name: groups, and varints above 64 bits.
"""

import random
from typing import Any

import pytest

from arena.errors import FormatError
from arena.formats.om import read_om_sizes
from tests.om_files import MODEL_DEF, TASK, field, plain_om, task_info

SEEDS = [
    task_info(),
    task_info(2**62),
    field(1, "1") + field(11, 5) + field(16, 2**40) + field(12, 3) + b"\x21" + bytes(8),
    b"".join(field(10, field(20, bytes(index))) for index in range(9)) + field(11, 77),
]


@pytest.fixture(scope="module")
def task_message() -> Any:
    """A message class with the field that the query reads; all others are unknown to it."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    descriptor_pool = pytest.importorskip("google.protobuf.descriptor_pool")
    message_factory = pytest.importorskip("google.protobuf.message_factory")
    file = descriptor_pb2.FileDescriptorProto(name="task.proto", package="t", syntax="proto3")
    message = file.message_type.add(name="Task")
    message.field.add(name="memory_size", number=11, type=4, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Task"))


def test_damaged_task_lists(task_message: Any) -> None:
    decode_error = pytest.importorskip("google.protobuf.message").DecodeError
    random_ = random.Random(11)
    accepted = refused = 0
    for _ in range(4000):
        data = bytearray(random_.choice(SEEDS))
        for _ in range(random_.randint(0, 3)):
            place = random_.randrange(len(data))
            data[place] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        tasks = bytes(data[: random_.randint(0, len(data))] if random_.random() < 0.3 else data)
        try:
            theirs = task_message.FromString(tasks).memory_size
        except decode_error:
            theirs = None
        try:
            ours = read_om_sizes(plain_om([(MODEL_DEF, b"x"), (TASK, tasks)])).work_bytes
        except FormatError:
            refused += 1
            continue
        accepted += 1
        assert ours == theirs
    assert accepted > 500
    assert refused > 500
