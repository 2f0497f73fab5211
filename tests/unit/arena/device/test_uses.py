"""Places and their last uses: who shares bytes, who races, and what was overwritten."""

from arena.device.adaptors.happens_before import Epoch
from arena.device.adaptors.uses import Place, Places, Record, Use, intersection
from arena.device.base import DeviceRange, StreamId

ONE, TWO = StreamId(1), StreamId(2)
BLOCK = DeviceRange(1024, 4096)


def _tensor(start: int, size: int = 64) -> DeviceRange:
    return DeviceRange(BLOCK.pointer + start, size)


def _watching() -> Places:
    places = Places()
    places.watch(BLOCK)
    return places


def _read(places: Places, memory: DeviceRange) -> Use:
    (use,) = places.uses(None, [memory], [])
    return use


def _write(places: Places, memory: DeviceRange) -> Use:
    (use,) = places.uses(None, [], [memory])
    return use


def test_only_what_is_watched_is_followed() -> None:
    places = _watching()
    assert places.uses(None, [DeviceRange(64, 64)], [DeviceRange(8192, 64)]) == []
    assert places.uses(None, [DeviceRange(BLOCK.pointer, 0)], []) == []
    assert len(places.uses(places.add(_tensor(0)), [_tensor(0)], [_tensor(64)])) == 3


def test_readers_race_with_unordered_writers_only() -> None:
    places = _watching()
    Record([_write(places, _tensor(0))], ONE, Epoch(ONE, 1), "writer")
    Record([_read(places, _tensor(0))], TWO, Epoch(TWO, 1), "reader")
    assert [name for name, _ in _read(places, _tensor(32)).unordered({})] == ["writer"]
    assert [name for name, _ in _write(places, _tensor(32)).unordered({})] == ["writer", "reader"]
    assert list(_read(places, _tensor(32)).unordered({ONE: 1})) == []
    assert [n for n, _ in _write(places, _tensor(32)).unordered({ONE: 1})] == ["reader"]
    assert list(_write(places, _tensor(64)).unordered({})) == []


def test_a_write_elsewhere_overwrites_what_it_meets() -> None:
    places = _watching()
    kept = _write(places, _tensor(0))
    Record([kept], ONE, Epoch(ONE, 1), "writer")
    work = Use(places.add(_tensor(32, 512)), is_write=True)
    Record([work], TWO, Epoch(TWO, 1), "other")
    assert kept.place.overwritten == "other"
    again = Record([kept], ONE, Epoch(ONE, 2), "writer")
    assert kept.place.overwritten == ""
    again.take_back()
    assert kept.place.overwritten == "other"
    places.filled(_tensor(0))
    assert kept.place.overwritten == ""
    places.filled(_tensor(2048))  # nobody's


def test_a_launch_that_did_not_take_place_leaves_no_use() -> None:
    places = _watching()
    use = _write(places, _tensor(0))
    first = Record([use], ONE, Epoch(ONE, 1), "first")
    Record([use], ONE, Epoch(ONE, 2), "second").take_back()
    assert use.place.writes[ONE] == (Epoch(ONE, 1), "first")
    first.take_back()
    assert use.place.writes == {}


def test_freed_memory_is_forgotten() -> None:
    places = _watching()
    stays = places.add(DeviceRange(8192, 64))
    Record([_write(places, _tensor(0))], ONE, Epoch(ONE, 1), "writer")
    places.free(DeviceRange(8192, 4096))
    assert len(places.uses(None, [_tensor(0)], [])) == 1
    places.free(BLOCK)
    assert places.uses(None, [_tensor(0)], []) == []
    places.watch(BLOCK)
    assert list(_read(places, _tensor(0)).unordered({})) == []
    places.remove(stays)


def test_removed_places_share_with_nobody() -> None:
    places = Places()
    one, other = places.add(_tensor(0)), places.add(_tensor(32))
    assert one.sharers == {other: DeviceRange(BLOCK.pointer + 32, 32)}
    places.remove(one)
    assert other.sharers == {}
    assert isinstance(other, Place)


def test_ranges_that_touch_have_nothing_in_common() -> None:
    assert intersection(_tensor(0), _tensor(64)) is None
    assert intersection(_tensor(0), _tensor(63)) == DeviceRange(BLOCK.pointer + 63, 1)
