# SPDX-License-Identifier: Apache-2.0
"""Reading from several nodes side by side, so that one that is slow does not slow the client down.

The first node is asked; when it has said nothing for ``concurrency_timeout``, another one is asked
as well, and so on. Whoever is good first is taken, and the others are given up.
"""

import itertools
import time

from swift.common.concurrency import Empty, LightQueue, spawn
from swift.proxy.ec_get import EcGetter
from swift.proxy.get import Getter


class Race:
    """Iterate over it for nodes in the order of their answers; ``reply`` is what the last one said.

    ``ask(node)`` gives its Reply or None, and has time limits of its own; ``take()`` gives the next
    node to ask, None for none. So many requests as are ``wanted`` are on their way at once. After
    each ``stagger`` seconds without an answer there is one more, if ``spare(how many are on their
    way)`` has it so.
    """

    def __init__(self, ask, take, stagger, spare):
        self.ask, self.take, self.stagger, self.spare = ask, take, stagger, spare
        self.wanted = 1
        self.reply = None
        self._running = {}                 # green thread -> its node, in the order of their start
        self._answered = LightQueue()      # threads that have ended

    def __iter__(self):
        return self

    def __next__(self):
        dry = False
        while self._answered.empty():
            if not dry and len(self._running) < self.wanted:
                dry = not self._start()
                continue
            if not self._running:
                raise StopIteration
            more = not dry and self.spare(len(self._running))
            try:
                return self._judged(self._answered.get(timeout=self.stagger if more else None))
            except Empty:
                dry = not self._start()
        return self._judged(self._answered.get())

    def _start(self):
        node = self.take()
        if node is None:
            return False
        thread = spawn(self.ask, node)
        self._running[thread] = node
        thread.link(self._answered.put)
        return True

    def _judged(self, thread):
        node = self._running.pop(thread)
        self.reply = thread.wait()
        return node

    def stop(self):
        """Give up all that were not looked at; the nodes, to be asked anew if need be."""
        running, self._running = self._running, {}
        for thread in running:
            if not thread.dead:
                thread.kill()              # which closes its connection
            elif (reply := thread.wait()) is not None:
                reply.close()
        return list(running.values())


class RacingGetter(Getter):
    """A GET or HEAD that goes by the `Route` of its nodes."""

    race = None

    def __init__(self, app, method, kind, nodes, *args, **more):
        super().__init__(app, method, kind, nodes, *args, **more)
        self.route, self.most = nodes.route, nodes.most

    def find(self):
        if not self.route.concurrent:
            return super().find()
        nodes = self.nodes
        self.race = self.nodes = Race(
            lambda node: self._ask_now(node, self.headers), lambda: next(nodes, None),
            self.route.stagger, lambda running: running < self.most)
        try:
            return super().find()
        finally:
            race, self.race = self.race, None
            self.nodes = itertools.chain(race.stop(), nodes)

    def ask(self, node, headers):
        """The node's Reply, which in a race is there already."""
        return self._ask_now(node, headers) if self.race is None else self.race.reply

    def _ask_now(self, node, headers):
        started = time.monotonic()
        reply = super().ask(node, headers)
        self.app.timings.note(
            node, self.timeout if reply is None else time.monotonic() - started)
        return reply


class RacingEcGetter(EcGetter):
    """The same for fragments: one more primary is asked after each ``concurrency_timeout`` until
    enough fragments are there, and ``concurrent_ec_extra_requests`` more at the beginning."""

    race = None

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.route, self.candidates = self.nodes.route, self.nodes
        self.candidates.most = self.coding.data
        self.extra = min(self.route.extra, self.coding.replicas - self.coding.data) \
            if self.route.concurrent else 0

    def collect(self, range_line):
        if not self.route.concurrent and self.route.sorting != 'timing':
            return super().collect(range_line)
        # To know how long each node took, too, they cannot be waited for in turn.
        self.race = Race(self._ask_now, self._next, self.route.stagger, self._is_spare)
        try:
            return super().collect(range_line)
        finally:
            race, self.race = self.race, None
            self.nodes = itertools.chain(race.stop(), self.nodes)

    def _is_spare(self, running):
        return self.route.concurrent and self.candidates.primaries_left

    def _ask(self, count):
        if self.race is None:
            return super()._ask(count)
        self.race.wanted, self.extra = count + self.extra, 0
        node = next(self.race, None)
        return [] if node is None else [(node, self.race.reply)]

    def _ask_now(self, node):
        started = time.monotonic()
        call = self.send(node, self.range_line, self.answers.preferences())
        reply = self.receive(call, node, started + self.timeout)
        self.app.timings.note(
            node, self.timeout if reply is None else time.monotonic() - started)
        return reply
