"""The handshake against the published vector, and what must not pass."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.link.noise import CipherState, HandshakeState, NoiseError

# From the vectors of the cacophony project ("Noise_KK_25519_AESGCM_SHA256"), which other
# implementations of Noise are tested with, too. The hash at the end is another implementation's.
PROLOGUE = "4a6f686e2047616c74"
INIT_STATIC = "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"
INIT_EPHEMERAL = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
INIT_PUBLIC = "6bc3822a2aa7f4e6981d6538692b3cdf3e6df9eea6ed269eb41d93c22757b75a"
RESP_STATIC = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"
RESP_EPHEMERAL = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"
RESP_PUBLIC = "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62"
MESSAGES = [
    (
        "4c756477696720766f6e204d69736573",
        (
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
            "8564738a841228e693caeec4c497a8bd562231c3e51a1f03c4fd45dfe3a67870"
        ),
    ),
    (
        "4d757272617920526f746862617264",
        (
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
            "b94504c4d83506f5dd2568b68490eba8ed6f9cf2cca194a273c56d7ae3c558"
        ),
    ),
    ("462e20412e20486179656b", "6a5c10a201d4e3a08f79f64949e55731f774913a4d949bda3fcebf"),
    ("4361726c204d656e676572", "4e8a1bf06926fdd74e2f516e2b0c11cc1dc3387fadeb75389d4342"),
    (
        "4a65616e2d426170746973746520536179",
        "c1df7194ca8ea51d4dd99059bc9b90288112d47237d8481f1773fb26a31629a05c",
    ),
    (
        "457567656e2042f6686d20766f6e2042617765726b",
        "3edba4feaf590ee88dd8f5fba51db4bee651cf41afd410fe476c524ac9b1db24252fc55ff8",
    ),
]
TRANSCRIPT = "c03693acd830588fac76dd414c9e100e8c601d27511de855100239f7705fa3f2"


def private(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def sides(
    prologues: tuple[str, str] = (PROLOGUE, PROLOGUE), resp_public: str = RESP_PUBLIC
) -> tuple[HandshakeState, HandshakeState]:
    initiator = HandshakeState(
        initiator=True,
        prologue=bytes.fromhex(prologues[0]),
        static=private(INIT_STATIC),
        remote_static=bytes.fromhex(resp_public),
        ephemeral=private(INIT_EPHEMERAL),
    )
    responder = HandshakeState(
        initiator=False,
        prologue=bytes.fromhex(prologues[1]),
        static=private(RESP_STATIC),
        remote_static=bytes.fromhex(INIT_PUBLIC),
        ephemeral=private(RESP_EPHEMERAL),
    )
    return initiator, responder


def test_known_answers() -> None:
    initiator, responder = sides()
    payloads = [bytes.fromhex(payload) for payload, _ in MESSAGES]
    expected = [bytes.fromhex(ciphertext) for _, ciphertext in MESSAGES]

    assert initiator.write_message(payloads[0]) == expected[0]
    assert responder.read_message(expected[0]) == payloads[0]
    assert responder.write_message(payloads[1]) == expected[1]
    assert initiator.read_message(expected[1]) == payloads[1]

    result = initiator.split()
    assert result == responder.split()
    assert result.transcript.hex() == TRANSCRIPT
    ciphers = [CipherState(result.initiator_key), CipherState(result.responder_key)]
    for number, (payload, ciphertext) in enumerate(zip(payloads[2:], expected[2:], strict=True)):
        assert ciphers[number % 2].encrypt(b"", payload) == ciphertext
    ciphers = [CipherState(result.initiator_key), CipherState(result.responder_key)]
    for number, (payload, ciphertext) in enumerate(zip(payloads[2:], expected[2:], strict=True)):
        assert ciphers[number % 2].decrypt(b"", ciphertext) == payload


def test_secrets_differ_by_label_and_from_the_keys() -> None:
    initiator, responder = sides()
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    one, two = initiator.split(), responder.split()
    secrets = [one.initiator_key, one.responder_key, one.transcript]
    secrets += [one.secret(label) for label in (b"stream secret", b"rerandomise secret", b"")]
    assert len(set(secrets)) == 6
    assert all(len(secret) == 32 for secret in secrets)
    assert two.secret(b"stream secret") == one.secret(b"stream secret")


def test_another_prologue_fails() -> None:
    initiator, responder = sides((PROLOGUE, PROLOGUE + "00"))
    with pytest.raises(NoiseError):
        responder.read_message(initiator.write_message())


def test_another_static_key_fails() -> None:
    initiator, responder = sides(resp_public=INIT_PUBLIC)
    with pytest.raises(NoiseError):
        responder.read_message(initiator.write_message())


@pytest.mark.parametrize("position", range(48))
def test_every_changed_byte_of_the_first_message_fails(position: int) -> None:
    initiator, responder = sides()
    message = bytearray(initiator.write_message())
    message[position] ^= 1
    with pytest.raises(NoiseError):
        responder.read_message(bytes(message))


@pytest.mark.parametrize("position", range(48))
def test_every_changed_byte_of_the_second_message_fails(position: int) -> None:
    initiator, responder = sides()
    responder.read_message(initiator.write_message())
    message = bytearray(responder.write_message())
    message[position] ^= 1
    with pytest.raises(NoiseError):
        initiator.read_message(bytes(message))


@pytest.mark.parametrize("ephemeral", [bytes(32), b"\x01" + bytes(31)])
def test_low_order_points_fail(ephemeral: bytes) -> None:
    _, responder = sides()
    with pytest.raises(NoiseError, match="degenerate"):
        responder.read_message(ephemeral + bytes(16))


def test_steps_out_of_turn_fail() -> None:
    initiator, responder = sides()
    for step in (
        lambda: initiator.read_message(bytes(48)),
        responder.write_message,
        initiator.split,
    ):
        with pytest.raises(NoiseError):
            step()
    first = initiator.write_message()
    with pytest.raises(NoiseError, match="turn"):
        initiator.write_message()
    with pytest.raises(NoiseError, match="short"):
        responder.read_message(first[:47])


def test_keys_do_not_show() -> None:
    initiator, responder = sides()
    responder.read_message(initiator.write_message())
    responder.write_message()
    result = responder.split()
    assert result.initiator_key.hex() not in repr(result)
    assert repr(result.initiator_key) not in repr(result)
    assert repr(result.secret(b"stream secret")) not in repr(vars(responder))
