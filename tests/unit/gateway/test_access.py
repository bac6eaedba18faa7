"""Keys, rates, signatures and what is needed where, without a network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from services.common.api_keys import ApiKey
from services.common.errors import EarmarkError, PermissionDenied, RateLimited, Unauthenticated, Unavailable
from services.gateway.access.bucket import Buckets
from services.gateway.access.caller import ANYBODY, Caller, Scope, caller
from services.gateway.access.gate import KeyGate
from services.gateway.access.secrets import KeyText
from services.gateway.access.signing import Signature, Signer
from services.gateway.filters import SearchFilter
from services.gateway.http.access import is_public, needed
from services.gateway.settings import Settings

START = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
MINE = Caller("key1", frozenset({Scope.READ}), frozenset({"a", "b"}), "b")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


# ── rate ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    for _ in range(20):
        buckets.take("a", 2)
    with pytest.raises(RateLimited) as refused:
        buckets.take("a", 2)
    assert refused.value.retry_after_seconds == pytest.approx(0.5)
    buckets.take("b", 2)  # another key's is another bucket
    clock.seconds += 0.5
    buckets.take("a", 2)
    with pytest.raises(RateLimited):
        buckets.take("a", 2)
    clock.seconds += 1e6
    for _ in range(20):
        buckets.take("a", 2)
    with pytest.raises(RateLimited):
        buckets.take("a", 2)


# ── signatures ───────────────────────────────────────────────────────────────────────────────────


def signature_of(url: str) -> tuple[str, Signature]:
    parts = urlsplit(url)
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return parts.path, Signature(given["key"], given["expires"], given["signature"])


def test_a_signature_ends_and_stays_the_same_for_a_while() -> None:
    clock = Clock()
    signer = Signer(["x" * 40], seconds=100, now=clock)
    url = signer.sign("key1", "/videos/v/media")
    path, signature = signature_of(url)
    signer.check(path, signature)
    signer.check(f"/v1{path}", signature)
    assert signature_of(signer.sign("key1", f"/v1{path}"))[1] == signature
    clock.seconds += 49
    assert signer.sign("key1", path) == url
    clock.seconds += 50
    signer.check(path, signature)
    clock.seconds += 60
    with pytest.raises(Unauthenticated, match="is over"):
        signer.check(path, signature)


def test_a_signature_of_the_secret_before_is_taken_and_of_another_is_not() -> None:
    path, signature = signature_of(Signer(["old" * 20], seconds=100).sign("key1", "/p"))
    Signer(["new" * 20, "old" * 20], seconds=100).check(path, signature)
    with pytest.raises(Unauthenticated):
        Signer(["new" * 20], seconds=100).check(path, signature)


@pytest.mark.parametrize("change", [{"key_id": "key2"}, {"expires": "99999999999"}, {"expires": "x"}, {"expires": "²"}])
def test_what_was_signed_is_not_changed(change: dict[str, str]) -> None:
    signer = Signer(["x" * 40], seconds=100)
    path, good = signature_of(signer.sign("key1", "/p"))
    bad = Signature(**{"key_id": good.key_id, "expires": good.expires, "signature": good.signature, **change})
    with pytest.raises(Unauthenticated):
        signer.check(path, bad)


# ── the gate ─────────────────────────────────────────────────────────────────────────────────────


class Store:
    """Keys in a dictionary, which may be out of reach."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = {key.key_id: key for key in keys}
        self.asked = 0
        self.away = False

    async def get(self, key_id: str) -> ApiKey | None:
        self.asked += 1
        if self.away:
            raise Unavailable("away")
        return self.keys.get(key_id)


def stored(text: KeyText, **fields: object) -> ApiKey:
    given = {
        "key_id": text.key_id,
        "digest": text.digest,
        "name": "test",
        "scopes": ("read",),
        "collections": ("a",),
        "default_collection": "a",
        "requests_per_second": None,
        "bytes_per_day": None,
        "videos_per_day": None,
        "created_at": START,
        "expires_at": None,
        "revoked_at": None,
        **fields,
    }
    return ApiKey(**given)  # type: ignore[arg-type]


def gate_of(store: Store, clock: Clock) -> KeyGate:
    signer = Signer(["x" * 40], seconds=100)
    return KeyGate(
        keys=store,
        signer=signer,
        admin_key=None,
        cache_seconds=5,
        requests_per_second=100,
        now=lambda: START,
        clock=clock,
    )


async def reason_of(asked: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(EarmarkError) as refused:
        await asked()
    return refused.value.reason


async def test_a_key_is_looked_up_now_and_then_and_holds_while_the_database_is_away() -> None:
    text, clock = KeyText.new(), Clock()
    store = Store(stored(text))
    gate = gate_of(store, clock)
    for _ in range(3):
        assert (await gate.admit(str(text))).collections == frozenset({"a"})
    assert store.asked == 1
    store.away = True
    clock.seconds += 200
    assert (await gate.admit(str(text))).key_id == text.key_id
    assert await reason_of(lambda: gate.admit(str(KeyText.new()))) == "UNAVAILABLE"
    clock.seconds += 200
    assert await reason_of(lambda: gate.admit(str(text))) == "UNAVAILABLE"


@pytest.mark.parametrize(
    "ended", [{"revoked_at": START}, {"expires_at": START}, {"expires_at": START - dt.timedelta(days=1)}]
)
async def test_a_key_that_is_over_does_not_hold(ended: dict[str, object]) -> None:
    text = KeyText.new()
    gate = gate_of(Store(stored(text, **ended)), Clock())
    assert await reason_of(lambda: gate.admit(str(text))) == "KEY_INVALID"


async def test_a_key_with_another_secret_does_not_hold() -> None:
    text = KeyText.new()
    gate = gate_of(Store(stored(text)), Clock())
    assert await reason_of(lambda: gate.admit(str(KeyText(text.key_id, KeyText.new().secret)))) == "KEY_INVALID"
    assert await reason_of(lambda: gate.admit("")) == "KEY_REQUIRED"


async def test_a_key_without_the_right_to_read_makes_no_links_that_read() -> None:
    text = KeyText.new()
    gate = gate_of(Store(stored(text, scopes=("upload",))), Clock())
    who = await gate.admit(str(text))
    path, signature = signature_of(who.link("/videos/v/media"))
    assert await reason_of(lambda: gate.admit("", signature, path=path)) == "SCOPE_MISSING"


def test_the_text_of_a_key_does_not_show() -> None:
    text = KeyText.new()
    assert KeyText.parse(str(text)) == text
    assert text.secret not in repr(text)
    assert text.digest not in repr(stored(text))
    for wrong in ("", "earmark_", str(text)[:-1], f"{text}x", f" {text}", str(text).replace("earmark", "Earmark")):
        assert KeyText.parse(wrong) is None


# ── who may what ─────────────────────────────────────────────────────────────────────────────────


def test_nobody_is_not_everybody() -> None:
    with pytest.raises(Unauthenticated):
        caller()


def test_where_a_video_comes() -> None:
    assert (MINE.place(""), MINE.place("a"), ANYBODY.place(""), ANYBODY.place("x")) == ("b", "a", "", "x")
    with pytest.raises(PermissionDenied) as refused:
        MINE.place("c")
    assert refused.value.field == "collection"


@pytest.mark.parametrize(
    ("asked", "seen", "told"),
    [
        ([], None, ()),
        (["a"], None, ("a",)),
        ([], {"b", "a"}, ("a", "b")),
        (["a", "c"], {"a", "b"}, ("a",)),
        (["c"], {"a"}, ("/",)),
        ([], set(), ("/",)),
    ],
)
def test_a_filter_is_narrowed_and_never_widened(asked: list[str], seen: set[str] | None, told: tuple[str, ...]) -> None:
    narrowed = SearchFilter.of(collections=asked).within(seen)
    assert narrowed.collections == told
    message = narrowed.message()
    assert (tuple(message.collections) if message else ()) == told


@pytest.mark.parametrize(
    ("method", "path", "rights"),
    [
        ("GET", "/search", {Scope.READ}),
        ("GET", "/v1/search", {Scope.READ}),
        ("GET", "/videos/x/media", {Scope.READ}),
        ("POST", "/videos/upload", {Scope.UPLOAD}),
        ("DELETE", "/videos/x", {Scope.READ, Scope.UPLOAD}),
        ("PUT", "/videos/x/transcript", {Scope.READ, Scope.UPLOAD}),
        ("GET", "/keys/self", set()),
        ("GET", "/keys", {Scope.ADMIN}),
        ("POST", "/shards/scale", {Scope.ADMIN}),
        ("GET", "/metrics", {Scope.ADMIN}),
        ("GET", "/something/new", {Scope.ADMIN}),
        ("POST", "/search", {Scope.ADMIN}),
        ("GET", "//search", {Scope.ADMIN}),
        ("GET", "/v1/v1/search", {Scope.ADMIN}),
    ],
)
def test_what_a_route_takes(method: str, path: str, rights: set[Scope]) -> None:
    assert set(needed(method, path)) == rights
    assert not is_public(path)


@pytest.mark.parametrize("path", ["/healthz/x", "/docsx", "/webx", "/web", "/v/a/b", "/openapi.json/x", "//", ""])
def test_what_only_looks_public_is_not(path: str) -> None:
    assert not is_public(path)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_loopback_nothing_needs_to_be_said(host: str) -> None:
    assert Settings(http_host=host, grpc_host=host).access == "open"


@pytest.mark.parametrize("name", ["http_host", "grpc_host"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_any_other_address_needs_access_control(name: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="EARMARK_ACCESS=keys"):
        Settings(**{name: host})  # type: ignore[arg-type]
    for access in ("keys", "proxy"):
        assert Settings(**{name: host, "access": access}).access == access  # type: ignore[arg-type]


def test_origins_are_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    assert Settings().cors_origins == ["https://a.example", "http://localhost:3000"]
    for wrong in ("*", "a.example", "https://a.example/"):
        with pytest.raises(ValidationError):
            Settings(cors_origins=[wrong])
    assert Settings(cors_origins=["*"], access="keys").cors_origins == ["*"]
