"""The protocol: linted, its generated code fresh, and events stored by earlier versions still read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from earmark.events.v1 import events_pb2 as pb
from services.common.events import topology
from services.common.ids import SLOTS, slot_of
from services.common.transcript import SliceTranscript

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"


def test_buf_finds_nothing_to_say() -> None:
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        pytest.skip("buf is not installed: pip install buf-bin")
    done = subprocess.run([buf, "lint"], cwd=ROOT / "protos", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def breaking(folder: Path) -> tuple[int, str]:
    """What buf says of the protocol in a folder, against the released one."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        pytest.skip("buf is not installed: pip install buf-bin")
    command = [buf, "breaking", folder, "--against", ROOT / "protos" / "released.binpb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_was_released_is_only_added_to(tmp_path: Path) -> None:
    assert breaking(ROOT / "protos") == (0, "")
    changed = tmp_path / "protos"
    shutil.copytree(ROOT / "protos", changed)
    file = changed / "earmark" / "v1" / "video.proto"
    text = file.read_text()
    assert "string title = " in text
    file.write_text(text.replace("string title = ", "string heading = ", 1))
    code, said = breaking(changed)
    assert code != 0, "a renamed field goes unseen"
    assert "title" in said


def test_generated_code_is_fresh() -> None:
    command = [sys.executable, ROOT / "tools" / "gen_protos.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("golden", json.loads((GOLDEN / "events.json").read_text()), ids=lambda golden: golden["kind"])
def test_stored_events_are_still_read(golden: dict[str, object]) -> None:
    """The stream holds a week of events: what was written must be read, by field and by subject."""
    message = topology.MESSAGES[str(golden["kind"])].FromString(bytes.fromhex(str(golden["payload"])))
    assert MessageToDict(message) == golden["fields"]
    assert topology.kind_of(str(golden["subject"])) == golden["kind"]
    assert topology.subject(str(golden["kind"]), message.video_id) == golden["subject"]  # type: ignore[attr-defined]


def test_every_event_has_a_golden_copy() -> None:
    golden = {entry["kind"] for entry in json.loads((GOLDEN / "events.json").read_text())}
    assert golden == set(topology.MESSAGES)


def test_stored_dead_letters_are_still_read() -> None:
    letter = pb.DeadLetter.FromString(bytes.fromhex((GOLDEN / "dead_letter.hex").read_text()))
    assert (letter.consumer, letter.reason, letter.deliveries, letter.stream_sequence) == (
        "recognizer",
        "TIMEOUT",
        3,
        42,
    )


def test_stored_transcripts_are_still_read() -> None:
    transcript = SliceTranscript.from_bytes((GOLDEN / "slice_transcript.json").read_bytes())
    assert transcript.segments[0].words[1].text == " world"
    assert SliceTranscript.from_bytes(transcript.to_bytes()) == transcript


def test_slots_never_move() -> None:
    """Subjects, tables and snapshots are written with them."""
    assert SLOTS == 256
    ids = ["vid_01h00000000000000000000000", "vid_01h00000000000000000000001", "vid_7zzzzzzzzzzzzzzzzzzzzzzzzz"]
    assert [slot_of(video_id) for video_id in ids] == json.loads((GOLDEN / "slots.json").read_text())
