"""Registers with the bookshop, whose mails go through the npm package `smtp-server`, and follows their links.

The arguments are the program of the bookshop, the directory where Node.js finds its packages, and one for what is written on the
way.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import ssl
import sys
import urllib.error
import urllib.request

from checks import expect, run
from gateway import running

PROGRAM, NODE, DIR = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
SCRIPT = pathlib.Path(__file__).with_name("smtp.mjs")
PASSWORD = "correct horse battery"


class Mails:
    """What the mail server has taken."""

    def __init__(self, name):
        self.file = DIR / f"smtp-{name}.jsonl"
        self.file.unlink(missing_ok=True)

    async def next(self, to, count=1):
        """The mail to this address which is so manieth."""
        while True:
            lines = self.file.read_text().splitlines() if self.file.exists() else []
            own = [mail for mail in map(json.loads, lines) if mail["to"] == to]
            if len(own) >= count:
                return own[count - 1]
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def shop(name, credentials="", refusals=0):
    """A mail server and a bookshop: where its pages are, and the mails."""
    mails = Mails(name)
    server = ["node", SCRIPT, mails.file, str(refusals)]
    async with running(server, DIR / f"smtp-{name}.log", ["listening "], cwd=NODE) as (port,):
        places = {variable: "127.0.0.1:0" for variable in ("BOOKSHOP_ADDR", "BOOKSHOP_TLS_ADDR", "BOOKSHOP_METRICS_ADDR")}
        mail = {"BOOKSHOP_SMTP": f"smtp://{credentials}127.0.0.1:{port}", "BOOKSHOP_SENDER": "The bookshop <shop@bookshop.example>"}
        more = {"BOOKSHOP_CERTIFICATE": str(DIR / "bookshop")}
        env = {**os.environ, **places, **mail, **more}
        async with running([PROGRAM], DIR / f"bookshop-{name}.log", ["Its pages are at "], env=env) as (said,):
            yield said.split(" ")[0], mails


async def post(url, **fields):
    """The status of an answer."""
    return await asyncio.to_thread(post_now, url, fields)


def post_now(url, fields):
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, json.dumps(fields).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, context=trust) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


async def a_mail_leads_to_an_account():
    """Who registers gets a mail from the shop, in whose link the account begins; a name with an accent arrives as it is."""
    async with shop("plain") as (url, mails):
        for email, to in [("ada@acme.example", "ada@acme.example"), ("zoe@müller.example", "zoe@müller.example")]:
            expect("registering", await post(f"{url}/account/register", email=email, password=PASSWORD), 202)
            mail = await mails.next(to)
            expect("from", mail["from"], '"The bookshop" <shop@bookshop.example>')
            expect("to", mail["envelope"], [to])
            expect("about", mail["subject"], "The bookshop: Confirm your address")
            link = re.search(rf"{url}/account/verify\?token=([\w-]{{43}})", mail["text"])
            verify = f"{url}/account/verify"
            expect("the link", await post(verify, token=link[1], password=PASSWORD), 201)
            expect("once more", await post(verify, token=link[1], password=PASSWORD), 400)
            expect("log in", await post(f"{url}/account/login", email=email, password=PASSWORD), 200)


async def a_server_that_asks_who_it_is_hears_it():
    """Name and password of the mail server are those of its address."""
    async with shop("auth", credentials="shop:s3cret@") as (url, mails):
        expect("registering", await post(f"{url}/account/register", email="ada@acme.example", password=PASSWORD), 202)
        expect("who it is", (await mails.next("ada@acme.example"))["user"], "shop")


async def a_mail_that_is_refused_for_now_comes_later():
    """The answer does not wait for it, and it is sent again."""
    async with shop("later", refusals=1) as (url, mails):
        expect("registering", await post(f"{url}/account/register", email="ada@acme.example", password=PASSWORD), 202)
        await mails.next("ada@acme.example")


run([a_mail_leads_to_an_account, a_server_that_asks_who_it_is_hears_it, a_mail_that_is_refused_for_now_comes_later])
