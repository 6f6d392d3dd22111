"""An SMTP server that hesitates as the file FOLDER/mode says: usage mailroom_smtp.py PORT FOLDER SEED

take    take every mail at once
data    do not let a mail begin
answer  take the mail, and do not say so
slow    take the mail, and say so a little later

What it holds up stands in FOLDER/holding; what it has taken is FOLDER/mail/*.eml.
"""

import asyncio
import pathlib
import random
import sys

from aiosmtpd.smtp import SMTP, syntax

port, folder, seed = int(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
taken = 0


def mode() -> str:
    return (folder / "mode").read_text().strip()


async def hold(stage: str) -> None:
    while mode() == stage:
        (folder / "holding").write_text(stage)
        await asyncio.sleep(0.02)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        global taken
        taken += 1
        part = folder / "mail" / f"{taken}.part"
        part.write_bytes(envelope.original_content)
        part.rename(part.with_suffix(".eml"))
        await hold("answer")
        if mode() == "slow":
            await asyncio.sleep(chance.uniform(0, 0.1))
        return "250 taken"


class Hesitant(SMTP):
    @syntax("DATA")
    async def smtp_DATA(self, arg):
        await hold("data")
        await super().smtp_DATA(arg)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Hesitant(Handler(), loop=loop), "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
