"""A file that a tool makes: looked at before the work begins, there as a whole afterwards or not at all.

    with Output("kernel.elf") as out:   # OSError when it cannot be written
        out.write(data)                 # or: with open(out.part, "w") ...
        out.keep()
"""
import errno
import os


class Output:
    def __init__(self, path):
        self.path, self.kept = path, False
        if os.path.isdir(path):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        # A device or a pipe is written as it is.
        self.part = path if os.path.exists(path) and not os.path.isfile(path) else path + ".part"
        if self.part == path:
            if not os.access(path, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
            return
        try:
            with open(self.part, "wb"):
                pass
        except OSError as e:
            raise OSError(e.errno, e.strerror, path) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def write(self, data):
        with open(self.part, "wb") as f:
            f.write(data)

    def keep(self):
        """What has been written takes the file's place."""
        if self.part != self.path:
            os.replace(self.part, self.path)
        self.kept = True

    def drop(self):
        """What was not kept goes."""
        if not self.kept and self.part != self.path and os.path.exists(self.part):
            os.remove(self.part)
