"""A clock that can be set back while a program runs: the one of the calendar, not the monotonic one.

libfaketime moves what programs wait by, too. Needs a C compiler.
"""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const int64_t none, *offset = &none;  /* in seconds, in a file that whoever sets the clock writes */
static int (*original)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    original = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("SOAK_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) offset = shared;
}
int clock_gettime(clockid_t clock, struct timespec *to) {
    if (!original) original = dlsym(RTLD_NEXT, "clock_gettime");
    int status = original(clock, to);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) to->tv_sec += *offset;
    return status;
}
int gettimeofday(struct timeval *to, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec, to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """`environment`: what a program is started with whose clock this is. Raises OSError where none can be compiled."""

    def __init__(self, folder: Path) -> None:
        self.library, self.path = folder / "clock.so", folder / "clock"
        self.set_back(0)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise OSError("no C compiler here")
        if not self.library.exists():
            command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(self.library), "-ldl"]
            if (done := subprocess.run(command, input=SOURCE, text=True, capture_output=True)).returncode:
                raise OSError(done.stderr)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "SOAK_CLOCK": str(self.path)}

    def set_back(self, days: int) -> None:
        """At once, for the programs that run too: written in place."""
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.write(struct.pack("q", -86400 * days))
