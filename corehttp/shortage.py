"""Texts for what a process can run out of, with what the operator can do about it. Pure."""

import errno

_TEXTS = {
    errno.EMFILE: "this process has opened all the files that it may; raise `ulimit -n` (LimitNOFILE= in systemd)",
    errno.ENFILE: "the system has opened all the files that it may; raise fs.file-max",
    errno.EAGAIN: "there may be no more processes; raise `ulimit -u` (TasksMax= in systemd, pids.max of the container)",
    errno.ENOMEM: "there is no memory; give the service more, or start fewer --workers",
    errno.ENOBUFS: "the kernel has no memory for sockets; give the service more, or start fewer --workers",
    errno.ETOOMANYREFS: "too many descriptors are on their way between processes; raise `ulimit -n`",
    errno.ENOSPC: "there is no room in shared memory or on a disk; make some",
}


def shortage(error: OSError) -> str:
    """Return why something that needs a process, a descriptor or memory could not be done, and what helps."""
    return _TEXTS.get(error.errno or 0, error.strerror or str(error))
