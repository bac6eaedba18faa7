"""What the embedder measures."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.common.metrics import LATENCY_SECONDS

QUEUE = Gauge("earmark_embedder_queue_texts", "Texts that wait to be embedded.", ["kind"])
BATCH = Histogram("earmark_embedder_batch_texts", "Texts embedded at once.", ["kind"], buckets=(1, 2, 3, 4, 6, 8, 16))
SECONDS = Histogram("earmark_embedder_embed_seconds", "Time from asking to vectors.", ["kind"], buckets=LATENCY_SECONDS)
COMPUTE_SECONDS = Histogram(
    "earmark_embedder_compute_seconds", "Time the model took for a batch.", ["kind"], buckets=LATENCY_SECONDS
)
SKIPPED = Counter("earmark_embedder_skipped_total", "Texts not embedded, since nobody waited any more.", ["kind"])
REFUSED = Counter("earmark_embedder_refused_total", "Texts refused because the queue was full.", ["kind"])
CHUNKS = Counter("earmark_embedder_chunks_total", "Chunks stored with their vectors.")
