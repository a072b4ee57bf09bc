#!/usr/bin/env python3
"""A stand-in for ``julia`` that speaks the worker's protocol; its moods are chosen by FAKE_JULIA_MOOD.

It knows just the requests that the tests send: ``attach``, ``release``, and calls of ``fill!``, ``echo``, ``slow``,
``die`` and ``fail``.
"""

import json
import mmap
import os
import re
import socket
import struct
import sys
import time

MOOD = os.environ.get("FAKE_JULIA_MOOD", "")
VERSION = {"old": "1.6.7", "": "1.10.8"}.get(MOOD, "1.10.8")


def answer(source, regions):
    for region, path, size in re.findall(r'attach\((\d+), "([^"]*)", (\d+)\)', source):
        with open(path, "r+b") as file:
            regions[int(region)] = mmap.mmap(file.fileno(), int(size))
    for region in re.findall(r"release\((\d+)\)", source):
        del regions[int(region)]
    if "using PyNESS" in source and MOOD == "no package":
        message = "ArgumentError: Package StaticArrays not found in current path."
        return {"error": {"kind": "ArgumentError", "message": message, "trace": message + "\n [1] require"}}
    if "fail(" in source:
        return {"error": {"kind": "DomainError", "message": "sqrt of -1\nsecond line", "trace": "sqrt of -1\n [1] f"}}
    if "die(" in source:
        os.kill(os.getpid(), 9)
    if slow := re.search(r"slow\(([\d.]+)\)", source):
        time.sleep(float(slow[1]))
    if "regions()" in source:
        return {"value": sorted(regions)}
    if fill := re.search(
        r"fill!\(PyNESSBridge.shared\((\d+), (\d+), Float64, \((\d+), (\d+), \)\), ([-\d.]+)\)", source
    ):
        region, offset, rows, columns = map(int, fill.groups()[:4])
        struct.pack_into(f"<{rows * columns}d", regions[region], offset, *[float(fill[5])] * (rows * columns))
        return {"value": [rows, columns]}
    if echo := re.search(r"echo\((.*)\)", source):
        return {"value": echo[1]}
    return {"value": None}


def serve(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    stream = connection.makefile("rb")

    def reply(content):
        payload = json.dumps(content).encode()
        connection.sendall(struct.pack("<Q", len(payload)) + payload)

    reply({"julia": VERSION, "threads": int(re.search(r"--threads=(\d+)", " ".join(sys.argv))[1]), "pid": os.getpid()})
    regions = {}
    while header := stream.read(8):
        reply(answer(stream.read(struct.unpack("<Q", header)[0]).decode(), regions))


if MOOD == "broken":
    print("error while loading shared libraries: libjulia.so.1.10", file=sys.stderr)
    sys.exit(127)
if "--version" in sys.argv:
    print("julia version", VERSION)
elif MOOD == "dies at once":
    print("ERROR: could not load sysimage", file=sys.stderr)
    sys.exit(3)
elif "JULIA_DEPOT_PATH" in sys.argv[-1]:
    print(os.environ.get("JULIA_DEPOT_PATH", ""))
elif "-e" in sys.argv:
    serve(re.search(r'serve\("([^"]*)"\)', sys.argv[-1])[1])
