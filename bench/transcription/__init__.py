"""Ways to run Whisper on the same audio, with the same model, on the same cores."""
