"""Which models there are, as the parties tell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from libmpc.errors import ConflictError, ServiceError, UnavailableError
from libmpc.party.messages import ModelList, ModelState
from libmpc.wire.signed import Signed
from services.gateway.errors import RETRY_SECONDS, unknown_model
from services.gateway.parties import ALL, Parties

EVALUATORS = (0, 1)


@dataclass(frozen=True)
class ModelView:
    """One model, as the parties that could be asked agree on it.

    Attributes:
        model: digest (hex).
        state: ``incomplete`` while not every party has it or says the same of it.
        served: requests counted so far; parties may be a few apart while queries run.
        descriptors: signed by party 0 and party 1, as far as they could be asked.
    """

    name: str
    model: str
    state: Literal["serving", "stopped", "incomplete"]
    num_requests: int | None
    served: int
    descriptors: tuple[Signed, ...]


class Catalogue:
    """The parties' lists put together, and a cache of names for the path of queries."""

    def __init__(self, parties: Parties) -> None:
        self._parties = parties
        self._digests: dict[str, str] = {}
        self.names: frozenset[str] = frozenset()  # of all models, when they were last listed
        self._refreshing: asyncio.Task[dict[str, str]] | None = None

    async def views(self) -> list[ModelView]:
        """All models by name; parties that are not reachable are left out.

        Raises:
            ServiceError: no party could be asked.
        """
        lists, error = await self._lists()
        if not lists:
            self._parties.check_up()
            raise error or UnavailableError("no party answers; try again in a moment", status=503)
        return merge(lists)

    async def view(self, name: str) -> ModelView:
        """One model, from all three parties, with both evaluators' word on it.

        Raises:
            ModelNotFoundError: there is none of that name.
            UnavailableError: a party is not reachable, or an evaluator does not have the model
                (yet): half of their word would look like a forgery to a client.
        """
        self._parties.check_up()
        lists, error = await self._lists()
        if error is not None:
            raise error
        found = [view for view in merge(lists) if view.name == name]
        if not found:
            raise unknown_model(name)
        for view in found:
            if len(view.descriptors) == len(EVALUATORS):
                return view
        raise UnavailableError(
            f"the evaluators do not both hold model {name!r}; if it is being pushed, replaced or"
            " deleted, try again in a moment",
            status=503,
            retry_after=RETRY_SECONDS,
        )

    async def _lists(self) -> tuple[dict[int, ModelList], ServiceError | None]:
        """The parties' lists (by party), and why one is missing."""
        calls = [self._parties.models(party) for party in ALL]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        lists: dict[int, ModelList] = {}
        error: ServiceError | None = None
        for party, answer in enumerate(answers):
            if isinstance(answer, ModelList):
                lists[party] = answer
            elif isinstance(answer, ServiceError):
                error = answer
            else:
                raise answer
        return lists, error

    async def check(self, name: str, model: str) -> None:
        """See that ``model`` (hex digest) is what ``name`` stands for.

        Raises:
            ModelNotFoundError: there is no model of that name.
            ConflictError: it is another one by now.
        """
        if self._digests.get(name) == model:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        # Not what is cached by now: a change that ends this moment forgets the name.
        digests = await asyncio.shield(self._refreshing)
        if name not in digests:
            raise unknown_model(name)
        if digests[name] != model:
            raise ConflictError(
                "the query was sealed for another model; fetch this one's metadata again",
                status=409,
            )

    def forget(self, name: str) -> None:
        """What was known of a name may have changed."""
        self._digests.pop(name, None)

    async def _refresh(self) -> dict[str, str]:
        self._parties.check_up(EVALUATORS)
        listed = await self._parties.models(0)
        digests = {state.name: state.model for state in listed.models}
        self._digests = dict(digests)
        self.names = frozenset(digests)
        return digests

    def _refreshed(self, task: asyncio.Task[dict[str, str]]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may wait any more


def merge(lists: dict[int, ModelList]) -> list[ModelView]:
    """The parties' lists (by party) as one."""
    found: dict[tuple[str, str], dict[int, ModelState]] = {}
    for party, listed in lists.items():
        for state in listed.models:
            found.setdefault((state.name, state.model), {})[party] = state
    views = []
    for (name, model), states in sorted(found.items()):
        said = {state.state for state in states.values()}
        # Party 2 counts nothing.
        counting = [states[party] for party in EVALUATORS if party in states]
        views.append(
            ModelView(
                name,
                model,
                state=said.pop() if len(states) == len(lists) and len(said) == 1 else "incomplete",
                num_requests=next(iter(states.values())).num_requests,
                served=max((state.served for state in counting), default=0),
                descriptors=tuple(s.descriptor for s in counting if s.descriptor is not None),
            )
        )
    return views
