"""The inner loops of the searching solvers: plain functions on numpy arrays, compiled if possible.

Kernels know arrays of granules, not problems; they hold no clock, draw no random number but their
own, and never call themselves: an explicit stack is what lets their compiled form be cached on
disk. Compiled and uncompiled they compute the same, digit for digit.
"""
