"""An hour of media whose timestamps are odd: what is said stands in its slices where a player plays it."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, read_flac, to_s16
from services.transcriber.slicer import Slicer, SlicingLimits
from tests.support.long_media import retimed, write_said_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "how-gps-finds-you.mp4"
HOUR = 3600.0
MOMENTS = [7.0 + 89.0 * n for n in range(40)]
LOUD = 0.045

Clock = Callable[[float], float]


def sentence() -> npt.NDArray[np.int16]:
    """Two seconds of speech that begin with a sound."""
    samples = np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks()))
    first = np.flatnonzero(np.abs(samples) > 1.1 * LOUD)[0]
    return to_s16(samples[first : first + 2 * SAMPLE_RATE])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hour, in even time."""
    return write_said_at(tmp_path_factory.mktemp("hour") / "hour.mkv", sentence(), MOMENTS, seconds=HOUR)


async def heard(path: Path) -> list[float]:
    """Seconds of the media at which something begins to be heard, by its slices."""
    slicer = Slicer(slice_seconds=300, first_slice_seconds=60, limits=SlicingLimits())
    begins: list[float] = []
    async with slicer.open(path) as slicing:
        async for part in slicing.slices():
            loud = part.start + np.flatnonzero(np.abs(read_flac(part.path)) > LOUD) / SAMPLE_RATE
            begins += loud[np.diff(loud, prepend=-np.inf) > 10].tolist()
    assert slicing.warnings == []
    return begins


def late(seconds: float) -> Clock:
    return lambda second: second + seconds


def uneven(second: float) -> float:
    """Each packet up to 30 ms early or late, as recorders on phones write them."""
    return second + 0.03 * float(np.sin(second * 1e4))


def drifting(share: float) -> Clock:
    """A sound card that counts seconds longer or shorter than the clock by which timestamps are written."""
    return lambda second: second * (1 + share)


def whole(_: float) -> bool:
    return True


def with_gaps(second: float) -> bool:
    """Between any two moments something is missing: from one packet to a minute, a quarter of an hour in all."""
    number, since = divmod(second - 7.0, 89.0)
    missing = (0.06, 0.3, 1.5, 12.0, 60.0)[int(number) % 5]
    return not 10.0 <= since < 10.0 + missing


def steady(number: int) -> float:
    return float(number)


def variable(number: int) -> float:
    """Pictures at a rate that goes from one in two seconds to many a second."""
    return 0.5 * number + 4.0 * float(1 - np.cos(number / 10))


@pytest.mark.parametrize(
    ("kind", "clock", "kept", "pictures"),
    [
        ("mkv", late(10), whole, None),
        ("mp4", late(10), whole, variable),
        ("mp4", late(600), whole, None),
        ("mp4", late(600), whole, steady),
        ("ts", late(600), whole, steady),
        ("mp4", late(0), with_gaps, None),
        ("mkv", late(0), with_gaps, variable),
        ("mkv", uneven, whole, None),
        ("mp4", drifting(0.001), whole, steady),
        ("mp4", drifting(-0.001), whole, steady),
        ("mkv", lambda second: uneven(600 + drifting(0.001)(second)), with_gaps, variable),
    ],
    ids=[
        "late",
        "late-with-picture",
        "ten-minutes-late",
        "ten-minutes-late-with-picture",
        "ten-minutes-late-transport-stream",
        "gaps",
        "gaps-and-variable-rate",
        "uneven",
        "slow-clock",
        "fast-clock",
        "all-at-once",
    ],
)
async def test_what_is_said_is_where_a_player_plays_it(
    recording: Path,
    tmp_path: Path,
    kind: str,
    clock: Clock,
    kept: Callable[[float], bool],
    pictures: Callable[[int], float] | None,
) -> None:
    path = retimed(recording, tmp_path / f"hour.{kind}", clock=clock, kept=kept, pictures=pictures)
    found = await heard(path)
    assert len(found) == len(MOMENTS)
    errors = [there - clock(moment) for there, moment in zip(found, MOMENTS, strict=True)]
    assert max(map(abs, errors)) < 0.3
    # The promise is half a second over the hour: it must not be the beginning of a drift either.
    assert max(abs(b - a) for a, b in itertools.pairwise(errors)) < 0.3
