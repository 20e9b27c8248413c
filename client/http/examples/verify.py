#!/usr/bin/python3
"""Whose is the API key on standard input, and may it do charges.create? The argument is fob-http's address.

Exit status: 0 it may; 1 it may not; 2 Fob could not say. Let a request through on 0 only; answer 503 on 2, not 401.
"""

import json
import sys
import urllib.request


def verify(secret, operation, url="http://127.0.0.1:8480"):
    """What Fob says of a key. An exception: nothing is known of it. Only the verdict VALID allows."""
    body = json.dumps({"secret": secret, "operation": operation}).encode()
    request = urllib.request.Request(url + "/v1/verify", body, {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy's proxy must not see the key
    with direct.open(request, timeout=2) as reply:
        said = json.load(reply)
    return said["verdict"], said["detail"], said["account"]


def main():
    try:
        verdict, detail, account = verify(sys.stdin.readline().strip(), "charges.create", *sys.argv[1:])
    except Exception as fault:
        print("Fob could not say: %s" % fault, file=sys.stderr)
        return 2
    print(account if verdict == "VALID" else "%s: %s" % (verdict, detail))
    return 0 if verdict == "VALID" else 1


if __name__ == "__main__":
    sys.exit(main())
