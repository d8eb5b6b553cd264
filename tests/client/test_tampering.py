"""A gateway, or one party, that does not play by the rules gets a typed error, never an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from libmpc.client import Client
from libmpc.errors import ConfigError, IntegrityError, LibmpcError, ModelNotFoundError
from libmpc.identity.signing import SigningKey
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.descriptor import Descriptor
from tests.client.fake import FakeDeployment, images, infer_answer, once, tiny_model

Connect = Callable[..., Client]
METADATA = "/models/tiny"


def infer_requests(fake: FakeDeployment) -> int:
    return sum(path.endswith("/infer") for _, path in fake.requests)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a, b: [b, a], id="swapped"),
        pytest.param(lambda a, b: [a, a], id="doubled"),
        pytest.param(lambda a, b: [a[:-1] + bytes([a[-1] ^ 1]), b], id="a bit flipped"),
        pytest.param(lambda a, b: [a, b[:-6]], id="cut off"),
        pytest.param(lambda a, b: [a, b""], id="empty"),
        pytest.param(lambda a, b: [a, bytes(len(b))], id="zeros"),
    ],
)
def test_replies_that_were_changed(
    client: Client, fake: FakeDeployment, change: Callable[[bytes, bytes], list[bytes]]
) -> None:
    fake.tamper = lambda replies: change(*replies)  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match=r"party [01]'s answer cannot be opened"):
        client.query("tiny", images())
    # A retry would show that the client noticed.
    assert infer_requests(fake) == 1


def test_replies_to_another_query(client: Client, fake: FakeDeployment) -> None:
    earlier: list[bytes] = []

    def replay(replies: list[bytes]) -> list[bytes]:
        earlier.extend(replies)
        return earlier[:2]

    fake.tamper = replay  # type: ignore[method-assign]
    client.query("tiny", images())
    with pytest.raises(IntegrityError, match="another query"):
        client.query("tiny", images())


def test_replies_from_different_runs(client: Client, fake: FakeDeployment) -> None:
    fake.run_digest = lambda digest, party: bytes([party]) * 32  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="different computations"):
        client.query("tiny", images())
    assert infer_requests(fake) == 1


def answer(**changes: Any) -> httpx.Response:
    response = infer_answer(b"a" * 100, b"b" * 100)
    size = int(response.headers["Inference-Header-Content-Length"])
    content = changes.get("content", response.content)
    length = changes.get("length", str(size))
    headers = {"Inference-Header-Content-Length": length, **changes.get("headers", {})}
    return httpx.Response(200, content=content, headers=headers)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, json={"outputs": 3}),
        httpx.Response(200, json={"outputs": []}),
        httpx.Response(200, json={"outputs": [{"name": "logits0", "data": ["=="]}]}),
        httpx.Response(200, json={"outputs": [{"name": "logits0", "data": [3]}]}),
        httpx.Response(200, content=b"[" * 100_000),
        answer(length="99999"),
        answer(length="-1"),
        answer(length="x"),
        answer(content=infer_answer(b"a" * 100, b"b" * 100).content[:-1]),
        answer(content=infer_answer(b"a" * 100, b"b" * 100).content + b"x"),
        answer(content=bytes(1 << 20)),
    ],
)
def test_malformed_and_truncated_answers(
    client: Client, fake: FakeDeployment, response: httpx.Response
) -> None:
    fake.before.append(once(response))
    with pytest.raises(IntegrityError, match=r"malformed|cut off|longer than it can be"):
        client.query("tiny", images())
    assert infer_requests(fake) == 1


def test_a_compressed_answer_is_refused(client: Client, fake: FakeDeployment) -> None:
    bomb = httpx.Response(
        200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b")
    )
    fake.before.append(once(bomb))
    with pytest.raises(IntegrityError, match="compressed"):
        client.query("tiny", images())


# ---- what the gateway says of a model


def change_metadata(fake: FakeDeployment, change: Callable[[dict[str, Any]], None]) -> None:
    def hook(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(METADATA):
            return None
        document = fake.metadata("tiny")
        change(document["libmpc"])
        return httpx.Response(200, json=document)

    fake.before.append(hook)


def refused(client: Client, fake: FakeDeployment, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        client.query("tiny", images())
    assert infer_requests(fake) == 0


def other_descriptor(fake: FakeDeployment, signers: tuple[SigningKey, SigningKey]) -> list[Any]:
    entry = fake.catalogs[0].by_name("tiny")
    assert entry is not None
    assert entry.descriptor is not None
    changed = Descriptor.parse(entry.descriptor.document).model_copy(
        update={"input_range": (0.0, 255.0)}
    )
    return [key.sign_document(changed).to_json() for key in signers]


@pytest.mark.parametrize("liar", [0, 1])
def test_a_descriptor_that_one_evaluator_signed(
    client: Client, fake: FakeDeployment, liar: int
) -> None:
    stranger = SigningKey.generate()
    signers = [stranger, stranger]
    signers[liar] = fake.signing[liar]
    change_metadata(
        fake, lambda m: m.update(descriptor=other_descriptor(fake, (signers[0], signers[1])))
    )
    refused(client, fake, "signature of a descriptor")


def test_one_signature_twice(client: Client, fake: FakeDeployment) -> None:
    change_metadata(fake, lambda m: m.update(descriptor=[m["descriptor"][0]] * 2))
    refused(client, fake, "signature of a descriptor")


def test_evaluators_that_disagree(client: Client, fake: FakeDeployment) -> None:
    signers = fake.signing[0], fake.signing[1]
    change_metadata(
        fake,
        lambda m: m.update(descriptor=[m["descriptor"][0], other_descriptor(fake, signers)[1]]),
    )
    refused(client, fake, "describe model 'tiny' differently")
    # It could have been a replacement under way, so the client looked again, twice at most.
    assert fake.requests.count(("GET", "/v2" + METADATA)) == 3


def test_a_replacement_under_way_is_waited_for(client: Client, fake: FakeDeployment) -> None:
    document = fake.metadata("tiny")
    old = document["libmpc"]["descriptor"][1]
    document["libmpc"]["descriptor"][1] = other_descriptor(
        fake, (fake.signing[0], fake.signing[1])
    )[1]
    assert old != document["libmpc"]["descriptor"][1]
    fake.before.append(once(httpx.Response(200, json=document), suffix=METADATA))
    assert client.query("tiny", images()).shape == (5, 3)


def test_another_models_descriptor(client: Client, fake: FakeDeployment) -> None:
    fake.publish(tiny_model(seed=4), "other")
    descriptor = fake.metadata("other")["libmpc"]["descriptor"]
    change_metadata(fake, lambda m: m.update(descriptor=descriptor))
    refused(client, fake, "another model")


def test_old_keys(client: Client, fake: FakeDeployment) -> None:
    old = fake.announced()
    fake.clock.passed += 3601
    change_metadata(fake, lambda m: m.update(keys=old))
    refused(client, fake, "party 0's key is not valid at this time.*clock")


def test_keys_of_somebody_else(client: Client, fake: FakeDeployment) -> None:
    stranger = HpkeKeys(SigningKey.generate(), fake.deployment.id, 1, fake.clock)
    change_metadata(fake, lambda m: m["keys"].__setitem__(1, stranger.current().to_json()))
    refused(client, fake, "signature of a party key")


def test_one_partys_key_in_both_places(client: Client, fake: FakeDeployment) -> None:
    # A gateway together with party 0 would otherwise get both halves opened.
    change_metadata(fake, lambda m: m.update(keys=[m["keys"][0]] * 3))
    refused(client, fake, "signature of a party key")


def test_a_party_that_signs_for_another_place(client: Client, fake: FakeDeployment) -> None:
    wrong = HpkeKeys(fake.signing[1], fake.deployment.id, 0, fake.clock)
    change_metadata(fake, lambda m: m["keys"].__setitem__(1, wrong.current().to_json()))
    refused(client, fake, "not one of party 1")


@pytest.mark.parametrize("field", ["descriptor", "keys"])
@pytest.mark.parametrize("value", [None, [], [{}], 5, [{"document": "x", "signature": "y"}] * 3])
def test_missing_or_malformed_words(
    client: Client, fake: FakeDeployment, field: str, value: object
) -> None:
    change_metadata(fake, lambda m: m.update({field: value}))
    refused(client, fake, r"lacks a party's word|malformed")


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"libmpc": 3}', b"\xff"])
def test_metadata_that_is_none(client: Client, fake: FakeDeployment, content: bytes) -> None:
    fake.before.append(once(httpx.Response(200, content=content), suffix=METADATA))
    refused(client, fake, r"JSON|descriptor")


@pytest.mark.parametrize("content", [b"[]", b'{"models": 1}', b'{"models": [{"name": 1}]}'])
def test_a_malformed_list(client: Client, fake: FakeDeployment, content: bytes) -> None:
    fake.before.append(once(httpx.Response(200, content=content), suffix="/v2/models"))
    with pytest.raises(IntegrityError):
        client.models()


# ---- the wrong gateway


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        ({"name": "triton"}, "no libmpc gateway"),
        ({"name": "libmpc", "deployment": "00" * 16, "wire": "1.0"}, "serves another deployment"),
        ({"wire": "2.0"}, "wire version"),
        ({"wire": 7}, "wire version"),
    ],
)
def test_another_gateway(
    client: Client, fake: FakeDeployment, greeting: dict[str, Any], message: str
) -> None:
    right = {"name": "libmpc", "deployment": fake.deployment.id.hex(), "wire": "1.0"}
    response = httpx.Response(200, json={**right, **greeting})
    fake.before.append(once(response, suffix="/v2"))
    with pytest.raises(ConfigError, match=message):
        client.query("tiny", images())
    assert fake.requests == [("GET", "/v2")]


def test_a_newer_minor_version_will_do(client: Client, fake: FakeDeployment) -> None:
    greeting = {"name": "libmpc", "deployment": fake.deployment.id.hex(), "wire": "1.9", "new": 1}
    fake.before.append(once(httpx.Response(200, json=greeting), suffix="/v2"))
    assert client.query("tiny", images()).shape == (5, 3)


def test_something_else_that_answers(client: Client, fake: FakeDeployment) -> None:
    fake.before.append(once(httpx.Response(404, text="<html>nginx"), suffix="/v2"))
    with pytest.raises(LibmpcError, match="is it a libmpc gateway") as caught:
        client.query("tiny", images())
    assert not isinstance(caught.value, ModelNotFoundError)


def test_a_redirect_is_not_followed(client: Client, fake: FakeDeployment) -> None:
    away = httpx.Response(307, headers={"Location": "https://elsewhere.example/"})
    fake.before.append(once(away))
    with pytest.raises(LibmpcError, match="307"):
        client.query("tiny", images())


def test_an_errors_text_is_fit_for_a_terminal(client: Client, fake: FakeDeployment) -> None:
    text = json.dumps({"error": "\x1b[31mred\n" + "x" * 9999})
    fake.before.append(once(httpx.Response(400, content=text)))
    with pytest.raises(LibmpcError) as caught:
        client.query("tiny", images())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 500
