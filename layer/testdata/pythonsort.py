"""Print the paths of a JSON list, all in hexadecimal, as Python sorts them."""

import json
import pathlib
import sys

paths = [bytes.fromhex(p).decode("utf-8", "surrogateescape") for p in json.load(sys.stdin)]
for path in sorted(pathlib.PurePosixPath(p) for p in paths):
    print(str(path).encode("utf-8", "surrogateescape").hex())
