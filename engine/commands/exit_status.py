"""What a command ends with."""

from __future__ import annotations

#: Something is wrong with what was given, or nothing could be answered.
EXIT_DATA = 1
#: The program is at fault (EX_SOFTWARE of sysexits.h).
EXIT_FAULT = 70
#: Ctrl-C.
EXIT_STOPPED = 130

EXIT_STATUSES = """\
exit status:
  0    done
  1    something is wrong with the data, a file or an option's value: one line says what, and what to do
  2    the command line itself is wrong
  70   a fault of scarmatch: please report it
  130  stopped by Ctrl-C; what was computed is kept
"""
