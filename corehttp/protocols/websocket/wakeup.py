"""How an application that waits in `receive()` runs on as soon as a message comes, not a turn of the event loop later.

The problem
-----------
The application of a WebSocket waits in `await receive()` nearly all the time. asyncio's way to end such a wait is a
Future: `receive` awaits it, and `data_received` calls `set_result`. That only schedules the application's task for the
loop's next turn, and before each turn the loop asks the kernel for events. So every message costs one more
epoll_wait(2) and one more pass through the loop. A message that comes alone takes 2.4 us until the application waits
again; with a `Wakeup` it takes 1.3 us (`benchmarks.micro`, "with a turn of uvloop"; CPython 3.13).

How it works
------------
A Task does not need a Future to wait on. It accepts any object with an attribute `_asyncio_future_blocking`
(asyncio/futures.py, `isfuture`). It calls `add_done_callback` of that object to say how it is to be run on, `result`
when it runs on, and `cancel` when somebody cancels the task. A `Wakeup` is such an object, with two differences from a
Future: it is never done, so that it can be awaited again and again, and `wake` calls the callbacks itself, at once.

A step of a task is not free either: 1.07 us, against 0.45 us for a step past the task (`benchmarks.micro`). So `carry`
runs the application in a way that lets most steps go past its task:

1. The application's task awaits `carry(coroutine)`, where the coroutine runs the application. `carry` drives the
   coroutine by hand: it sends None to it, and yields to the task whatever the coroutine waits for. The application
   sees no difference.
2. The coroutine waits in `receive`: it yields the wakeup, `carry` yields it on, and the task calls `add_done_callback`.
   The wakeup keeps that callback as `_carrier`: it is the way back through the task.
3. A message comes, and `wake` calls `_step`. With the context variables of the task (PEP 567), and with the task as
   asyncio's current one, `_step` sends None to the coroutine itself. The application takes the message, answers it,
   and calls `receive` again.
4. Most often that waits for the wakeup again. Then nothing else is to be done: task and `carry` still wait as in 2.
5. If the coroutine waits for something else, returns or raises, `_step` keeps that as `_outcome` and calls `_carrier`.
   The task runs on inside `carry`, which goes on with the outcome as if it had made the step: it yields what is waited
   for, returns, or raises.

What could go wrong, and the test that shows that it does not
-------------------------------------------------------------
The tests run on uvloop and on asyncio's loop. They are in tests/protocols/websocket, in `test_wakeup` and
`test_wakeup_carried`.

* A carried coroutine could behave unlike one that a task runs: in the order of events, with timeouts, exceptions,
  context variables, child tasks or cancellation. Random scenes are played both ways, and all that happens is compared:
  test_whatever_it_does_and_happens_it_does_the_same_with_and_without_being_carried.
* `wake` may be called while another task runs. asyncio allows one current task, so the step is postponed to the loop's
  next turn: test_a_wakeup_by_a_task_runs_it_in_the_next_turn_of_the_loop, and for a task with the same context
  test_a_wakeup_by_a_task_in_the_same_context_has_its_effect_in_the_next_turn.
* The task may be cancelled while it waits. Then no step may go past it: `cancel` moves `_carrier` to `_others`, so that
  the task itself runs and throws CancelledError into `carry`, which throws it into the coroutine:
  test_a_task_that_is_cancelled_while_it_waits_sees_it_and_may_wait_again.
* The application may cancel its own task within a step. Then `_cancelled` makes `_step` go back through the task:
  test_one_that_cancels_itself_is_cancelled_where_it_waits_next.
* Tasks that the application has started may wait in `receive` too. They are kept in `_others` and run as tasks. Each
  looks whether there is a message, since another may have taken it: test_two_that_wait_get_a_message_each,
  test_among_several_that_receive_no_message_is_lost_and_nobody_waits_for_one_that_is_there.
* `wake` may find nobody waiting. That is not remembered, so `receive` looks for messages before it waits:
  test_a_wakeup_where_nobody_waits_is_not_remembered.
* asyncio's `_enter_task` and `_leave_task` may change, since they are private. They are what its own eager tasks use,
  and every test of a WebSocket would fail.
"""

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context

Callback = Callable[["Wakeup"], object]  # runs on a task that waits
Outcome = tuple[object, BaseException | None]  # what the coroutine waits for after a step, and what has ended it


class Wakeup:
    """What tasks and one carried coroutine wait on until `wake` runs them on at once; can be awaited again and again.

    A wait may also end though nothing has happened, so a task that has waited has to look, and may wait again. The
    documentation of the module says how it works. The methods below the line "What a task asks" are called by asyncio.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancelled",
        "_carrier",
        "_carries",
        "_context",
        "_loop",
        "_others",
        "_outcome",
        "_send",
        "_task",
    )

    _task: asyncio.Task[object]  # runs `carry`
    _context: Context  # the context variables with which `_task` runs
    _send: Callable[[None], object]  # makes a step of the coroutine that is carried

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._carries = False  # whether the next call of `add_done_callback` is about the carried coroutine
        # Runs `_task` on; None unless the carried coroutine waits for this object.
        self._carrier: Callback | None = None
        self._others: tuple[tuple[Callback, Context], ...] = ()  # run on the other tasks that wait, in their contexts
        self._cancelled = False  # whether a task that waits was cancelled since the last step
        self._outcome: Outcome | None = None  # that of a step past the task, until `carry` takes it

    def wake(self) -> None:
        """Run all that wait, before this returns; in the loop's next turn if a task is running now."""
        if self._others:
            self._run_others()
        if self._carrier is not None:
            try:
                self._context.run(self._step)
            except RuntimeError:  # another task runs now, in the same context
                self._loop.call_soon(self.wake)

    @types.coroutine
    def carry(self, coroutine: Coroutine[object, None, None]) -> Generator[object, None, None]:
        """Run `coroutine` to its end; to be awaited by a task, once. While it waits for this object, `wake` runs it on.

        Raises what the coroutine raises.
        """
        task = asyncio.current_task(self._loop)
        assert task is not None, "only a task can await"
        self._task = task
        send = self._send = coroutine.send  # one object for both: each has 72 bytes
        step: Callable[..., object] = send
        argument: BaseException | None = None
        unseen: Outcome | None = None  # that of a step past the task
        while True:
            if unseen is None:
                try:
                    awaited = step(argument)
                except StopIteration:
                    return
                finally:
                    argument = None  # its traceback refers to this frame
            else:
                awaited, failure = unseen
                if isinstance(failure, StopIteration):
                    return
                if failure is not None:
                    try:
                        raise failure
                    finally:
                        del failure, unseen  # which its traceback refers to
            self._carries = awaited is self
            step, argument = send, None
            try:
                yield awaited
            except BaseException as error:  # the task is cancelled; it may have done so itself, in a step
                step, argument = coroutine.throw, error
            unseen, self._outcome = self._outcome, None
            if unseen is not None and argument is not None and not _cancelled(unseen, argument):
                unseen = None

    def _step(self) -> None:
        """Run the carried coroutine on in the name of its task, which notices only if it does not wait here again."""
        try:
            _enter_task(self._loop, self._task)
        except RuntimeError:  # another task is running
            self._loop.call_soon(self.wake)
            return
        carrier, self._carrier = self._carrier, None
        self._cancelled = False
        try:
            awaited = self._send(None)
            if awaited is self and not self._cancelled:
                self._carrier = carrier
                return
            self._outcome = awaited, None
        except BaseException as error:
            self._outcome = None, error
        finally:
            _leave_task(self._loop, self._task)
        assert carrier is not None, "a step is made only while the coroutine waits here"
        carrier(self)

    def _run_others(self) -> None:
        """Run the tasks that wait; in the loop's next turn if a task is running now."""
        if asyncio.current_task(self._loop) is None:
            others, self._others = self._others, ()
            for callback, context in others:
                context.run(callback, self)
        else:
            self._loop.call_soon(self._run_others)

    # What a task asks; it also reads `_loop`.

    def __await__(self) -> Generator["Wakeup", None, None]:
        """Wait until `wake` is called."""
        self._asyncio_future_blocking = True
        return iter((self,))  # type: ignore[return-value]  # any iterator will do (PEP 492)

    def add_done_callback(self, callback: Callback, *, context: Context) -> None:
        """Note that a task waits, which `callback` runs on in `context`."""
        if self._carries:
            self._carries = False
            self._carrier, self._context = callback, context
        else:
            self._others = (*self._others, (callback, context))

    def cancel(self, msg: object = None) -> bool:
        """Run all tasks that wait, in the loop's next turn; answers False.

        False tells the task that is cancelled to throw a CancelledError by itself as soon as it runs. Which of the
        waiting tasks that is cannot be known here.
        """
        self._cancelled = True
        if self._carrier is not None:  # the next step must not go past the task
            self._others = (*self._others, (self._carrier, self._context))
            self._carrier = None
        self._loop.call_soon(self._run_others)
        return False

    result = staticmethod([].clear)  # returns None; as a function of C it costs no Python frame


def _cancelled(outcome: Outcome, error: BaseException) -> bool:
    """Cancel what a step has begun to wait for, with the arguments of `error`, which has cancelled the task.

    Answers whether `outcome` stands: the coroutine has ended already, or what it waits for will tell of the
    cancellation. If not, `error` is to be thrown into the coroutine.
    """
    awaited, failure = outcome
    cancel = getattr(awaited, "cancel", None)
    return failure is not None or (cancel is not None and cancel(*error.args))
