"""Whatever becomes of a party's files, it is a clear error and never another model or count."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.deployment_local import make_all
from libmpc.disk import FileDisk
from libmpc.errors import ConfigError, LibmpcError
from libmpc.identity.storage_keys import StorageKey, StorageKeys
from libmpc.party import vault
from libmpc.party.store import Store
from libmpc.party.vault import BLOCK_BYTES, DamagedError, Vault, new_data_key
from tests.party.storage import KEYS, Organisation
from tests.party.store_operations import OPERATIONS, first, replacing, second, stored
from tests.party.triple import PORTS

MODEL = "ab" * 32


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    """One with a stored model that has counted, a prepared one, and a log that is in use."""
    made = tmp_path_factory.mktemp("made")
    make_all(made, PORTS)
    party = Organisation.load(made, made / "base")
    replacing(party)
    store, catalog = party.open()
    for name in ("serve", "count"):
        OPERATIONS[name].change(party, store, catalog)
    store.add_served(
        {(first(party).model, catalog.entries[first(party).model].record.command_ms): 2}
    )
    image = party.copy("image")  # before the log is folded into the database
    store.close()
    assert (image.data / "party.sqlite-wal").stat().st_size > 10_000
    return image


def _regions(size: int) -> list[int]:
    """A byte of every 64, and the first and last few."""
    dice = random.Random(size)
    middle = [start + dice.randrange(64) for start in range(0, size, 64)]
    return sorted({*range(min(32, size)), *(p for p in middle if p < size), size - 1})


def _outcome(party: Organisation) -> object:
    """What a start with these files comes to: records with their shares, or an error."""
    try:
        store, catalog = party.open()
    except ConfigError as error:
        assert str(party.data) in str(error) or "storage key" in str(error)
        return "refused"
    try:
        usable = {m: bytes(store.share(e.record)) for m, e in catalog.entries.items()}
        return store.records(), store.tombstones(), sorted(catalog.damaged), usable
    finally:
        store.close()


@pytest.mark.parametrize("name", ["party.sqlite", "party.sqlite-wal", "newest", "key", "sealed"])
def test_a_flipped_bit_in_every_region_of_every_file(party: Organisation, name: str) -> None:
    model = first(party).model
    intact: object = _outcome(party.copy("intact"))
    assert isinstance(intact, tuple)
    records, tombstones, _, usable = intact
    path = {"key": f"shares/{model}.key", "sealed": f"shares/{model}.sealed"}.get(name, name)
    content = (party.data / path).read_bytes()
    places = _regions(len(content))
    noticed = 0
    for place in places if len(places) < 700 else random.Random(1).sample(places, 700):
        other = party.copy("flipped")
        bad = bytearray(content)
        bad[place] ^= 1 << (place % 8)
        (other.data / path).write_bytes(bad)
        outcome = _outcome(other)
        if outcome == "refused":
            noticed += 1
        elif outcome != intact:
            # Only the one model is out of service; counts and commands are as they were.
            assert isinstance(outcome, tuple)
            assert [r.model for r in outcome[0]] == [r.model for r in records]
            assert [r.served for r in outcome[0]] == [r.served for r in records]
            assert [r.serving for r in outcome[0]] == [r.serving for r in records]
            assert outcome[1:] == (tombstones, [model], {})
            noticed += 1
        else:
            assert outcome[3] == usable
            # A byte that says nothing: free space of a page, the log after its end.
            assert name.startswith("party.sqlite")
    assert noticed


@pytest.mark.parametrize("name", ["party.sqlite", "party.sqlite-wal", "key", "sealed"])
def test_files_that_are_cut_short_or_gone(party: Organisation, name: str) -> None:
    model = first(party).model
    intact = _outcome(party.copy("intact"))
    path = {"key": f"shares/{model}.key", "sealed": f"shares/{model}.sealed"}.get(name, name)
    size = (party.data / path).stat().st_size
    for length in {0, 1, size // 2, size - 1}:
        other = party.copy("cut")
        os.truncate(other.data / path, length)
        outcome = _outcome(other)
        if name == "party.sqlite" and outcome == intact:
            continue  # all of it is still in the log
        assert outcome == "refused" or outcome[2] == [model]  # type: ignore[index]
    other = party.copy("gone")
    (other.data / path).unlink()
    outcome = _outcome(other)
    assert outcome == "refused" or outcome[2] == [model]  # type: ignore[index]


def test_a_model_with_a_damaged_share_is_out_of_service_and_can_be_deleted(
    party: Organisation,
) -> None:
    other = party.copy("damaged")
    model = first(party).model
    (other.data / "shares" / f"{model}.sealed").write_bytes(b"something else")
    store, catalog = other.open()
    assert model not in catalog.entries
    assert model in catalog.stored()
    with pytest.raises(LibmpcError, match="in use"):
        again = other.push("mnist", 9)
        catalog.prepare(again.manifest, again.share)
    catalog.prepare(second(other).manifest, second(other).share)  # replaces it
    catalog.command(other.command(first(other), "delete", 9))
    assert not catalog.damaged
    assert not list((other.data / "shares").glob(f"{model}*"))
    store.close()


def test_a_share_of_another_party_or_model_does_not_open() -> None:
    payload, key = os.urandom(100), new_data_key()
    file = b"".join(Vault(0, KEYS).seal(MODEL, b"d" * 32, payload, key))
    assert Vault(0, KEYS).open(MODEL, b"d" * 32, file, key) == payload
    for other, model, digest in (
        (Vault(1, KEYS), MODEL, b"d" * 32),
        (Vault(0, KEYS), "cd" * 32, b"d" * 32),
        (Vault(0, KEYS), MODEL, b"e" * 32),
    ):
        with pytest.raises(DamagedError):
            other.open(model, digest, file, key)
    record = Vault(0, KEYS).wrap(MODEL, key)
    assert Vault(0, KEYS).unwrap(MODEL, record) == key
    for other, model in ((Vault(1, KEYS), MODEL), (Vault(0, KEYS), "cd" * 32)):
        with pytest.raises(DamagedError):
            other.unwrap(model, record)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_blocks_cannot_be_cut_off_exchanged_or_repeated(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 3))
    size = max(0, count * BLOCK_BYTES + data.draw(st.sampled_from([-1, 0, 1, 17])))
    payload, key, files = bytes(size), new_data_key(), Vault(0, KEYS)
    parts = list(files.seal(MODEL, b"d" * 32, payload, key))
    assert files.open(MODEL, b"d" * 32, b"".join(parts), key) == payload
    head, blocks = parts[0], parts[1:]
    i, j = (data.draw(st.integers(0, len(blocks) - 1)) for _ in range(2))
    swapped = list(blocks)
    swapped[i], swapped[j] = swapped[j], swapped[i]
    changed = [
        [*blocks[:i], *blocks[i + 1 :]],
        [*blocks[: i + 1], blocks[i], *blocks[i + 1 :]],
        *([swapped] if i != j else []),
    ]
    for other in changed:
        with pytest.raises(DamagedError):
            files.open(MODEL, b"d" * 32, head + b"".join(other), key)


def test_no_file_is_ever_encrypted_under_a_key_and_nonce_that_another_had(
    party: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the very same push is stored again after it was deleted or has failed."""
    used: list[tuple[bytes, bytes]] = []

    class Recorder:
        def __init__(self, key: bytes) -> None:
            self._key, self._cipher = key, AESGCM(key)

        def encrypt(self, nonce: bytes, data: bytes, about: bytes) -> bytes:
            used.append((self._key, nonce))
            return self._cipher.encrypt(nonce, data, about)

        def decrypt(self, nonce: bytes, data: bytes, about: bytes) -> bytes:
            return self._cipher.decrypt(nonce, data, about)

    monkeypatch.setattr(vault, "AESGCM", Recorder)
    for name in ("stored", "again", "once more"):
        stored(replace(party, directory=tmp_path / name))
    files = Vault(0, KEYS)
    big = bytes(3 * BLOCK_BYTES + 5)
    for _ in range(3):
        list(files.seal(MODEL, b"d" * 32, big, new_data_key()))
    assert len(used) == 3 * 2 + 3 * 4
    assert len(set(used)) == len(used)


def test_a_party_without_its_storage_key_says_which_one(party: Organisation) -> None:
    other = party.copy("keyless")
    other.keys = StorageKeys([StorageKey(b"x" * 32)])
    with pytest.raises(ConfigError, match=f"storage key {KEYS.first.id.hex()}"):
        other.open()


def test_nothing_of_a_share_is_on_the_disk_in_clear(party: Organisation) -> None:
    share = first(party).share
    for path in (p for p in party.directory.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not any(share[i : i + 16] in content for i in range(0, len(share) - 16, 16))


def test_a_deleted_model_leaves_nothing_that_opens_its_share(party: Organisation) -> None:
    other = party.copy("deleting")
    backup = party.copy("backup")  # of everything but the key record, say
    model = first(other).model
    record = (other.data / "shares" / f"{model}.key").read_bytes()
    store, catalog = other.open()
    catalog.command(other.command(first(other), "delete", 9))
    plan = catalog.prepared[second(other).model].manifest
    assert plan
    for path in (p for p in other.data.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert record not in content
        assert first(other).manifest.document not in content
    store.close()
    # The old ciphertext and the storage key, put beside what the party has now.
    sealed = (backup.data / "shares" / f"{model}.sealed").read_bytes()
    (other.data / "shares" / f"{model}.sealed").write_bytes(sealed)
    store, catalog = other.open()
    assert model not in catalog.entries
    assert not (other.data / "shares" / f"{model}.sealed").exists()
    store.close()


def test_the_key_record_is_overwritten_before_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"secret" * 10)
    os.link(path, tmp_path / "same blocks")
    FileDisk().overwrite(path)
    FileDisk().remove(path)
    assert (tmp_path / "same blocks").read_bytes() == bytes(60)


def test_a_file_size_limit_of_the_operating_system(party: Organisation, tmp_path: Path) -> None:
    """As a full disk: the push is refused, and the party goes on with what it had."""
    made = party.directory.parent
    limited = Organisation.load(made, tmp_path / "limited")
    code = """if True:
        import resource, signal, sys
        from pathlib import Path
        from libmpc.errors import LibmpcError
        from libmpc.party.store import Record
        from tests.party.storage import Organisation
        from tests.party.store_operations import first
        party = Organisation.load(Path(sys.argv[1]), Path(sys.argv[2]))
        store, catalog = party.open()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        push = first(party)
        record = Record(push.model, "mnist", "prepared", push.manifest.document, b"", 0)
        try:
            store.prepare(record, bytes(4 << 20))
        except LibmpcError as error:
            print(error)
        print(store.records(), sorted(p.name for p in (party.data / "shares").iterdir()))
        catalog.prepare(push.manifest, push.share)
        """
    child = _child(code, str(made), str(limited.directory))
    assert child.stdout.splitlines() == [
        "party 0: nothing was stored: the disk is full; make room and try again",
        "[] []",
    ], child.stderr
    store, catalog = limited.open()
    assert list(catalog.prepared) == [first(limited).model]
    store.close()


def _child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be used"):
        Store(tmp_path / "file", Vault(0, KEYS))


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_directory_that_may_not_be_read_or_written(tmp_path: Path, mode: int) -> None:
    """By a process without a superuser's rights."""
    data = tmp_path / "data"
    Store(data, Vault(0, KEYS)).close()
    if os.geteuid() == 0:
        for path in (tmp_path, data, *data.rglob("*")):
            os.chown(path, 65534, 65534)
    code = """if True:
        import os, sys
        from pathlib import Path
        from libmpc.errors import ConfigError
        from libmpc.party.store import Store
        from libmpc.party.vault import Vault
        from tests.party.storage import KEYS
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            Store(Path("data"), Vault(0, KEYS))
        except ConfigError as error:
            print(error)
        """
    data.chmod(mode)
    try:
        child = _child(code, str(tmp_path))
    finally:
        data.chmod(0o700)
    assert child.stdout.startswith("data: cannot be used as a party's data: "), child.stderr
    assert len(child.stdout.splitlines()) == 1
