"""Become a program that dies with its parent. A script of its own: it imports nothing of this package.

    launcher.py ERROR_FD PARENT_PID FOLDER NAME PROGRAM ARGV0 [ARGUMENT ...]

Writes the errno to ERROR_FD if the program cannot be started; nothing, and closes it, if it can. A program of another
format "starts" and ends with 1 and a line that names it by NAME, as it does in a container.
"""

import errno
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask to be killed with the parent, then become the program."""
    error_fd, parent, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    name, program, argv = sys.argv[4], sys.argv[5], sys.argv[6:]
    os.set_inheritable(error_fd, False)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the kernel was asked
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
        # Python ignores the first, a shell's background job the others; and what is ignored is inherited.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(folder)
        os.execve(program, argv, os.environ)  # noqa: S606 - becoming it is the purpose
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            os.write(2, f"exec {name}: exec format error\n".encode())
            os._exit(1)
        os.write(error_fd, str(error.errno).encode())
        os._exit(127)


if __name__ == "__main__":
    main()
