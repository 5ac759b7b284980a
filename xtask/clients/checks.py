"""Runs checks one after the other, and says of each whether it holds."""

import asyncio
import sys

# A check that waits longer than this waits for something that never comes.
PATIENCE = 30


def expect(what, got, want):
    """Both must be the same."""
    if got != want:
        raise AssertionError(f"{what}: {short(got)} in place of {short(want)}")


def short(value):
    """The beginning of what may be long."""
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}... ({len(text)} characters)"


def run(checks, patience=PATIENCE):
    """Runs coroutine functions, whose documentation says what they show, and ends the program: badly if one failed.

    What a check returns is a remark to that.
    """
    held = asyncio.run(_run(checks, patience))
    sys.exit(0 if all(held) else 1)


async def _run(checks, patience):
    held = []
    for check in checks:
        try:
            async with asyncio.timeout(patience):
                remark = await check()
            verdict = "holds "
        except TimeoutError:
            verdict, remark = "FAILED", f"It still waits after {patience} s."
        except Exception as error:
            verdict, remark = "FAILED", f"{type(error).__name__}: {error}"
        print(f"  {verdict}  {check.__doc__} {remark or ''}".rstrip(), flush=True)
        held.append(verdict != "FAILED")
    return held
