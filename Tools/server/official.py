"""What the checks with official clients share: a server that a key opens, and the list of what holds."""

import argparse
import base64
import tempfile

import running

KEY = "key-of-the-check"


def picture(name):
    """A picture of the examples, in base64."""
    return base64.b64encode((running.ROOT / "Examples" / name).read_bytes()).decode()


def refused(call, kind):
    """The error of a call that has to be refused; None if it is not, or without the header of the request's id."""
    try:
        call()
    except kind as error:
        return error if error.response.headers.get("x-request-id", "").startswith("req_") else None
    return None


def run(description, checks):
    """Starts a server that `KEY` opens, runs the checks of its address, and exits with 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/deepseek-vl", help="the program (%(default)s)")
    options = parser.parse_args()
    model = str(running.ROOT / "Models" / "shapes-vl2")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as keys:
        keys.write(KEY + "\n")
        keys.flush()
        arguments = ["--api-keys", keys.name, "--model", model, "--log-level", "error", "--cache-memory", "64"]
        with running.Server(options.binary, *arguments) as server:
            for what, holds in checks(server.url):
                running.check(what, holds)
            server.process.terminate()
            running.check("the server ends with status 0", server.process.wait(60) == 0)
    running.finish()
