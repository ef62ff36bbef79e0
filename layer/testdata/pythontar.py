"""Print the tar headers that Python's tarfile makes for a JSON list of entries.

Texts are in hexadecimal, for they need not be UTF-8.
"""

import json
import sys
import tarfile


def text(entry, key):
    return bytes.fromhex(entry[key]).decode("utf-8", "surrogateescape")


for entry in json.load(sys.stdin):
    info = tarfile.TarInfo(text(entry, "name"))
    info.type = entry["type"].encode()
    info.linkname = text(entry, "linkname")
    info.uname, info.gname = text(entry, "uname"), text(entry, "gname")
    for key in "mode", "uid", "gid", "size", "mtime", "devmajor", "devminor":
        setattr(info, key, entry[key])
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    sys.stdout.buffer.write(header)
