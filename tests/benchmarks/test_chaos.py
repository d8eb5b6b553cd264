from __future__ import annotations

import json

import pytest

from benchmarks import chaos
from benchmarks.chaos import Blow, Report


def test_what_fails_a_run() -> None:
    good = Report(1.0, blows=[Blow("gateway", "killed", 3.0)], right=5)
    assert good.passed
    assert not Report(1.0, right=5).passed  # nothing was done
    assert not Report(1.0, blows=good.blows).passed  # nothing was answered
    assert not Report(1.0, blows=good.blows, right=5, wrong=1).passed
    assert not Report(1.0, blows=good.blows, right=5, unforeseen=["KeyError"]).passed
    late = Blow("party 0", "frozen", chaos.TARGET_SECONDS + 0.1)
    assert not Report(1.0, blows=[*good.blows, late], right=5).passed
    assert "FAILED" in Report(1.0, blows=[late], right=5).text()
    assert "gateway, killed" in good.text()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_half_a_minute_of_blows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Elsewhere the time is the figure; here it is that of a machine that tests other things, too.
    monkeypatch.setattr(chaos, "TARGET_SECONDS", 60.0)
    assert chaos.main(["--minutes", "0.5", "--clients", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["blows"] >= 2
    assert found["answers_right"] > 0
    assert found["answers_wrong"] == 0
    assert found["unforeseen"] == []
