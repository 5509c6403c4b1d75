"""hubsync beside other tools, measured in one go on one machine.

Only ratios of neighbouring runs say something: the speed of a disk or a CPU
differs from machine to machine and from minute to minute.  Nothing here passes
or fails.
"""
