"""Files appear whole or not at all, with the permissions of any file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pyness.errors import StoreError
from pyness.files import write_whole


def test_text_and_bytes_together(tmp_path):
    write_whole({tmp_path / "a": b"\0\1", tmp_path / "b": "π\n"})
    assert (tmp_path / "a").read_bytes() == b"\0\1"
    assert (tmp_path / "b").read_text(encoding="utf-8") == "π\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_whole({tmp_path / "a": "x"})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    """The second of two files does not fit: neither is replaced, and no draft is left."""
    write_whole({tmp_path / "a": "old a", tmp_path / "b": "old b"})
    write = Path.write_bytes

    def full(path, content):
        if path.name == "b.part":
            write(path, content[:2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match=r"cannot write .*b: No space left on device; free space") as caught:
        write_whole({tmp_path / "a": "new a", tmp_path / "b": "new b"})
    assert caught.value.exit_code == 2
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old a", "b": "old b"}


def test_no_such_directory(tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        write_whole({tmp_path / "missing" / "a": "x"})
