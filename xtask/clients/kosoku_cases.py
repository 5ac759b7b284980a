"""Gives the cases of `kosoku` to a WebSocket server, directly and through the gateway at the same time.

The arguments are the address of the server, that of the gateway, and a directory for the reports. What the server makes of
a client, right or wrong, is its own affair; no proxy may change it.
"""

import asyncio
import json
import pathlib
import sys

from checks import expect, run

SERVER, GATEWAY, REPORTS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])

# All groups are whole but the last two, whose cases send a thousand compressed messages each. Of these, for each way to
# compress: some of the smaller messages in one piece, and some in fragments.
WHOLE = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
WAYS = [f"12.{way}" for way in range(1, 6)] + [f"13.{way}" for way in range(1, 8)]
OF_EACH_WAY = [2, 3, 4, 12]
CHOSEN = WHOLE + [f"{way}.{case}" for way in WAYS for case in OF_EACH_WAY]
# So many they are. It changes with the version of kosoku and with what is chosen.
COUNT = 349
# What this server fails without any gateway.
SERVER_FAILS = ["7.1.5"]

# Two ways to pass where a good message and a bad one come close together: the server may answer the first or not. That
# hangs on whether it has read both at once, and differs from run to run, without a gateway too.
PASSES = {"OK": "OK", "NON-STRICT": "OK", "INFORMATIONAL": "INFORMATIONAL"}


async def same_verdicts():
    """Every case ends through the gateway as it ends directly."""
    direct, through = await asyncio.gather(
        verdicts(SERVER, REPORTS / "direct"), verdicts(GATEWAY, REPORTS / "gateway")
    )
    expect("the number of cases", (len(direct), len(through)), (COUNT, COUNT))
    failing = [case for case, (behavior, *_) in direct.items() if behavior not in PASSES]
    expect("what the server fails when it is asked directly", failing, SERVER_FAILS)
    differing = [case for case in direct if direct[case] != through.get(case)]
    said = "".join(f"\n          {case}: {through.get(case)}, directly {direct[case]}" for case in differing)
    expect(f"how many of {COUNT} cases differ{said}\n         ", len(differing), 0)
    return (
        f"{COUNT} cases:\n          {' '.join(WHOLE)}, and of 12.* and 13.* those that end in "
        f"{', '.join(map(str, OF_EACH_WAY))}. The server fails {', '.join(SERVER_FAILS)} itself.\n"
        "          OK and NON-STRICT count as the same."
    )


async def verdicts(address, reports):
    """How each case ends for who listens at this address."""
    for old in reports.glob("*"):
        old.unlink()
    words = ["--mode", "fuzzingclient", "--outdir", reports, address]
    words += [word for case in CHOSEN for word in ("--include", case)]
    program = pathlib.Path(sys.executable).with_name("kosoku")
    pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(program, *words, stdout=pipe, stderr=same)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # It ends badly where a case fails, but it writes its report then too.
    if not (reports / "index.json").exists():
        raise RuntimeError(f"kosoku at {address}: {said.decode()}")
    (cases,) = json.loads((reports / "index.json").read_text()).values()
    return {case: verdict(result) for case, result in cases.items()}


def verdict(result):
    behavior = result["behavior"]
    return [PASSES.get(behavior, behavior), result["behaviorClose"], result["remoteCloseCode"]]


run([same_verdicts], patience=300)
