"""What the library says of a transcript as a whole."""

from services.common.transcript import Segment, SliceTranscript
from services.gateway.library import written_in


def heard(*segments: Segment, language: str = "de") -> SliceTranscript:
    return SliceTranscript("vid_x", "00000", 0.0, 300.0, language, 0.9, "base", list(segments))


def test_captions_are_in_the_language_of_most_of_their_text() -> None:
    """A translation's is English, whatever was spoken; so a player does not offer it as German."""
    translated = heard(Segment(0.0, 5.0, "The leopard.", language="en"), Segment(5.0, 9.0, "It sleeps.", language="en"))
    assert written_in([translated]) == "en"
    assert written_in([translated, heard(Segment(0.0, 10.0, "Der Leopard."))]) == "de"
    assert written_in([]) == ""
